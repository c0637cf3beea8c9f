"""The engine's way for weightings that know a pair by a few numbers of its anchor."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import tensorflow as tf

from ms_keras.losses import replicas
from ms_keras.losses.blocks import Blocks, blocks_of, dense_or_blocks
from ms_keras.losses.compiling import compiled_if_many
from ms_keras.losses.core import both_gradients, differentiated_once, not_hiding_nan
from ms_keras.losses.mining import keep
from ms_keras.losses.pairs import (
    Memory,
    PairBatch,
    batch_against_all,
    query_gallery,
)
from ms_keras.losses.recipe import Bounds, End, Mining, Weighting
from ms_keras.losses.summary import PairSummary, summarise

Vectors: TypeAlias = tuple[tf.Tensor, ...]


class RowCore:
    """The computations of a mining by bounds with a weighting by statistics.

    XLA compiles what happens to pairs one by one, unless they are few. Rows travel
    between replicas outside of it, and matmuls are TensorFlow's own, which are a tenth
    faster on CPUs, and much faster in the loop over blocks of anchors. Blocks leave no
    similarities for the backward pass, which multiplies again; their numbers are those
    of the whole matrix.
    """

    def __init__(
        self, mining: Mining, weighting: Weighting, block_size: int | None = None
    ) -> None:
        self._mining = mining
        self._weighting = weighting
        self._block_size = block_size
        self._losses = compiled_if_many(self._plain_losses)
        self._one_sided_weights = compiled_if_many(self._plain_one_sided_weights)
        self._two_sided_weights = compiled_if_many(self._plain_two_sided_weights)
        self.weights = compiled_if_many(self._plain_weights)
        self._summary = compiled_if_many(self._plain_summary)

    def batch_losses(
        self, labels: tf.Tensor, embeddings: tf.Tensor, memory: Memory | None = None
    ) -> tf.Tensor:
        """Returns losses `[m]` of anchors against all replicas' and a memory."""
        all_labels = replicas.gather(labels)

        @tf.custom_gradient
        def losses_of(embeddings: tf.Tensor) -> tuple:
            # Stopped, or TensorFlow prepares a gradient of its own.
            anchors = tf.stop_gradient(embeddings)
            pairs = batch_against_all(labels, anchors, all_labels).and_memory(memory)
            losses, similarities, statistics = self._forward(pairs)

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                # Only these few numbers per anchor cross the replicas backwards; each
                # replica then computes the whole gradient of its own embeddings.
                own = (*statistics, upstream)
                all_ = replicas.gather_together(own)
                return differentiated_once(
                    self._gradient(pairs, similarities, own, all_), embeddings
                )

            return losses, gradient

        return losses_of(embeddings)

    def reference_losses(
        self,
        labels: tf.Tensor,
        embeddings: tf.Tensor,
        reference_labels: tf.Tensor,
        references: tf.Tensor,
    ) -> tf.Tensor:
        """Returns losses `[m]` of anchors against separate references."""

        @tf.custom_gradient
        def losses_of(anchors: tf.Tensor, references: tf.Tensor) -> tuple:
            pairs = query_gallery(
                labels,
                tf.stop_gradient(anchors),
                reference_labels,
                tf.stop_gradient(references),
            )
            losses, similarities, statistics = self._forward(pairs)

            def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                both = self._gradients(pairs, similarities, statistics, upstream)
                return tuple(map(differentiated_once, both, (anchors, references)))

            return losses, gradient

        return losses_of(embeddings, references)

    def batch_summary(self, labels: tf.Tensor, embeddings: tf.Tensor) -> PairSummary:
        """Sums up the pairs of anchors against the anchors of all replicas."""
        pairs = batch_against_all(labels, embeddings, replicas.gather(labels))
        per_anchor = tf.TensorSpec([None], embeddings.dtype)
        return self._dense_or_blocks(
            pairs,
            lambda: self._summary(pairs),
            lambda blocks: blocks.map(
                lambda rows: self._summary(pairs.of_anchors(rows)),
                PairSummary(*[per_anchor] * len(PairSummary._fields)),
            ),
        )

    def _dense_or_blocks(
        self,
        pairs: PairBatch,
        dense: Callable[[], Any],
        blocked: Callable[[Blocks], Any],
    ) -> Any:
        size = self._block_size
        return dense_or_blocks(
            pairs, size, dense, lambda: blocked(blocks_of(pairs, size))
        )

    def _forward(self, pairs: PairBatch) -> tuple[tf.Tensor, tf.Tensor, Vectors]:
        """Returns losses `[m]`, similarities `[m, n]` or `[0, n]`, statistics."""
        dtype = pairs.anchors.dtype
        per_anchor = tf.TensorSpec([None], dtype)

        def blocked(blocks: Blocks) -> tuple[tf.Tensor, tf.Tensor, Vectors]:
            losses, statistics = blocks.map(
                lambda rows: self._dense_forward(pairs.of_anchors(rows))[::2],
                (per_anchor, (per_anchor,) * self._count_of_statistics),
            )
            nothing = tf.zeros([0, tf.shape(pairs.references)[0]], dtype)
            return losses, nothing, statistics

        return self._dense_or_blocks(pairs, lambda: self._dense_forward(pairs), blocked)

    @functools.cached_property
    def _count_of_statistics(self) -> int:
        """How many there are: tried out on one pair."""
        with tf.init_scope():
            pair, no = tf.zeros([1, 1]), tf.zeros([1, 1], tf.bool)
            return len(self._statistics(pair, no, no))

    def _gradient(
        self, pairs: PairBatch, similarities: tf.Tensor, own: Vectors, all_: Vectors
    ) -> tf.Tensor:
        """Returns the gradient by anchors that are also among the references."""
        return self._dense_or_blocks(
            pairs,
            lambda: self._one_sided_gradient(pairs, similarities, own, all_),
            lambda blocks: blocks.map(
                lambda rows: self._block_gradient(
                    pairs.of_anchors(rows), _gathered(own, rows), all_
                ),
                _like_rows(pairs.anchors),
            ),
        )

    def _gradients(
        self,
        pairs: PairBatch,
        similarities: tf.Tensor,
        statistics: Vectors,
        upstream: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the gradients by anchors and by separate references."""

        def of_block(rows: tf.Tensor, new: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            some = tf.where(
                new, tf.gather(upstream, rows), tf.zeros([], upstream.dtype)
            )
            return self._block_gradients(
                pairs.of_anchors(rows), _gathered(statistics, rows), some
            )

        return self._dense_or_blocks(
            pairs,
            lambda: self._two_sided_gradient(pairs, similarities, statistics, upstream),
            lambda blocks: blocks.map_and_add(
                of_block, _like_rows(pairs.anchors), tf.zeros_like(pairs.references)
            ),
        )

    def _dense_forward(self, pairs: PairBatch) -> tuple[tf.Tensor, tf.Tensor, Vectors]:
        """Returns losses `[m]`, similarities `[m, n]` and statistics, `[m]` each."""
        similarities = pairs.similarities()
        losses, statistics = self._losses(pairs, similarities)
        return losses, similarities, statistics

    def _one_sided_gradient(
        self, pairs: PairBatch, similarities: tf.Tensor, own: Vectors, all_: Vectors
    ) -> tf.Tensor:
        weights = self._one_sided_weights(pairs, similarities, own, all_)
        return tf.matmul(weights, pairs.references)

    def _two_sided_gradient(
        self,
        pairs: PairBatch,
        similarities: tf.Tensor,
        statistics: Vectors,
        upstream: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        weights = self._two_sided_weights(pairs, similarities, statistics, upstream)
        return both_gradients(weights, pairs)

    def _block_gradient(
        self, pairs: PairBatch, own: Vectors, all_: Vectors
    ) -> tf.Tensor:
        return self._one_sided_gradient(pairs, pairs.similarities(), own, all_)

    def _block_gradients(
        self, pairs: PairBatch, statistics: Vectors, upstream: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return self._two_sided_gradient(
            pairs, pairs.similarities(), statistics, upstream
        )

    def _plain_losses(
        self, pairs: PairBatch, similarities: tf.Tensor
    ) -> tuple[tf.Tensor, Vectors]:
        """Returns losses and statistics, `[m]` each."""
        statistics = self._statistics(similarities, *pairs.masks())
        losses = self._weighting.losses(statistics[2:])
        return not_hiding_nan(losses, pairs), statistics

    def _statistics(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> Vectors:
        """Returns the two bounds of the mining, then what the weighting asks for."""
        bounds = self._mining.bounds(similarities, positives, negatives)
        kept = keep(Bounds(*_as_columns(bounds)), similarities, positives, negatives)
        return (*bounds, *self._weighting.statistics(similarities, *kept))

    def _of_ends(
        self,
        similarities: tf.Tensor,
        positives: tf.Tensor,
        negatives: tf.Tensor,
        *ends: Vectors,
    ) -> tf.Tensor:
        """Returns the weights of pairs, summed over their ends.

        Args:
            similarities: `[m, n]`.
            positives: Mask of the same shape.
            negatives: Mask of the same shape.
            *ends: Bounds and what the weighting knows, broadcastable against
                similarities.
        """
        return self._weighting.summed_weights(
            similarities,
            [
                End(*keep(Bounds(*bounds), similarities, positives, negatives), known)
                for bounds, known in ((end[:2], end[2:]) for end in ends)
            ],
        )

    def _plain_one_sided_weights(
        self, pairs: PairBatch, similarities: tf.Tensor, own: Vectors, all_: Vectors
    ) -> tf.Tensor:
        """Returns how much of each reference is in the gradient of each anchor.

        S is symmetric, so dL/dE_i = sum_j (g_i W_ij + g_j W_ji) E_j, where W_ji is
        read off S_ij with the statistics of anchor j. The rows of a memory, which come
        last, are no anchors: their pairs have one end.

        Args:
            pairs: `m` anchors against all `n` references.
            similarities: `[m, n]`.
            own: The anchors' statistics and, last, upstream gradients: `[m]` each.
            all_: The same of all anchors: `[n]` each, or fewer with a memory.
        """
        masks = pairs.masks()
        one, other = _as_columns(self._known(own)), self._known(all_)
        if pairs.filled is None:
            return self._of_ends(similarities, *masks, one, other)
        of_batch, of_memory = zip(
            *(
                tf.split(matrix, [tf.shape(all_[0])[0], -1], axis=1)
                for matrix in (similarities, *masks)
            ),
            strict=True,
        )
        return tf.concat(
            [self._of_ends(*of_batch, one, other), self._of_ends(*of_memory, one)],
            axis=1,
        )

    def _plain_two_sided_weights(
        self,
        pairs: PairBatch,
        similarities: tf.Tensor,
        statistics: Vectors,
        upstream: tf.Tensor,
    ) -> tf.Tensor:
        """Returns d (sum of upstream x losses) / dS: `[m, n]`."""
        one = _as_columns(self._known((*statistics, upstream)))
        return self._of_ends(similarities, *pairs.masks(), one)

    def _known(self, of_anchors: Vectors) -> Vectors:
        """Returns bounds and what the weighting makes of statistics and upstream."""
        below, above, *statistics, upstream = of_anchors
        known = self._weighting.known_of_anchors(tuple(statistics), upstream)
        return below, above, *known

    def _plain_weights(self, pairs: PairBatch) -> tf.Tensor:
        similarities = pairs.similarities()
        statistics = self._statistics(similarities, *pairs.masks())
        everyone = tf.ones_like(statistics[0])
        return self._plain_two_sided_weights(pairs, similarities, statistics, everyone)

    def _plain_summary(self, pairs: PairBatch) -> PairSummary:
        weights = self._plain_weights(pairs)
        return summarise(weights, pairs.similarities(), *pairs.masks())


def _as_columns(vectors: Vectors) -> Vectors:
    return tuple(vector[:, tf.newaxis] for vector in vectors)


def _gathered(vectors: Vectors, rows: tf.Tensor) -> Vectors:
    return tuple(tf.gather(vector, rows) for vector in vectors)


def _like_rows(rows: tf.Tensor) -> tf.TensorSpec:
    return tf.TensorSpec([None, *rows.shape[1:]], rows.dtype)
