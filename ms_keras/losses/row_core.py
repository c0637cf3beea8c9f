"""The engine's way for weightings that know a pair by a few numbers of its anchor."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from ms_keras.losses import replicas
from ms_keras.losses.core import both_gradients, compiled, not_hiding_nan
from ms_keras.losses.mining import keep
from ms_keras.losses.pairs import PairBatch, batch_against_all, query_gallery
from ms_keras.losses.recipe import Bounds, Mining, Weighting
from ms_keras.losses.summary import PairSummary, summarise


class RowCore:
    """The computations of a mining by bounds with a weighting by statistics.

    What is compiled by XLA runs on one device; rows travel between replicas outside
    of it.
    """

    def __init__(self, mining: Mining, weighting: Weighting) -> None:
        self._mining = mining
        self._weighting = weighting
        self._forward = compiled(self._plain_forward)
        self._one_sided_gradient = compiled(self._plain_one_sided_gradient)
        self._two_sided_gradient = compiled(self._plain_two_sided_gradient)
        self.weights = compiled(self._plain_weights)
        self._summary = compiled(self._plain_summary)

    def batch_losses(self, labels: tf.Tensor, embeddings: tf.Tensor) -> tf.Tensor:
        """Returns losses `[m]` of anchors against the anchors of all replicas."""
        all_labels = replicas.gather(labels)

        @tf.custom_gradient
        def losses_of(anchors: tf.Tensor) -> tuple:
            anchors = tf.stop_gradient(anchors)  # or TensorFlow prepares one of its own
            pairs = batch_against_all(labels, anchors, all_labels)
            losses, similarities, statistics = self._forward(pairs)

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                # Only these few numbers per anchor cross the replicas backwards; each
                # replica then computes the whole gradient of its own embeddings.
                own = tf.concat([statistics, upstream[:, tf.newaxis]], axis=1)
                return self._one_sided_gradient(
                    pairs, similarities, own, replicas.gather(own)
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
                return self._two_sided_gradient(
                    pairs, similarities, statistics, upstream
                )

            return losses, gradient

        return losses_of(embeddings, references)

    def batch_summary(self, labels: tf.Tensor, embeddings: tf.Tensor) -> PairSummary:
        """Sums up the pairs of anchors against the anchors of all replicas."""
        return self._summary(
            batch_against_all(labels, embeddings, replicas.gather(labels))
        )

    def _plain_forward(
        self, pairs: PairBatch
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns losses `[m]`, similarities `[m, n]` and statistics `[m, k]`."""
        similarities = pairs.similarities()
        statistics = self._statistics(similarities, *pairs.masks())
        losses = self._weighting.losses(statistics[2:])
        losses = not_hiding_nan(losses, similarities)
        return losses, similarities, tf.stack(statistics, axis=1)

    def _statistics(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        bounds = self._mining.bounds(similarities, positives, negatives)
        kept = keep(Bounds(*_as_columns(bounds)), similarities, positives, negatives)
        return (*bounds, *self._weighting.statistics(similarities, *kept))

    def _pair_weights(
        self,
        similarities: tf.Tensor,
        masks: tuple[tf.Tensor, tf.Tensor],
        statistics: tuple[tf.Tensor, ...],
    ) -> tf.Tensor:
        """Returns weights, given statistics broadcastable against similarities."""
        kept = keep(Bounds(*statistics[:2]), similarities, *masks)
        return self._weighting.weights(similarities, *kept, statistics[2:])

    def _plain_one_sided_gradient(
        self, pairs: PairBatch, similarities: tf.Tensor, own: tf.Tensor, all_: tf.Tensor
    ) -> tf.Tensor:
        """Returns the gradient by anchors that are also among the references.

        S is symmetric, so dL/dE_i = sum_j (g_i W_ij + g_j W_ji) E_j, where W_ji is
        read off S_ij with the statistics of anchor j.

        Args:
            pairs: `m` anchors against all `n` references.
            similarities: `[m, n]`.
            own: The anchors' statistics and, last, upstream gradients: `[m, k + 1]`.
            all_: The same of all references: `[n, k + 1]`.
        """
        masks = pairs.masks()
        own_columns = _as_columns(tf.unstack(own, axis=1))
        all_rows = tuple(tf.unstack(all_, axis=1))
        rowwise, columnwise = (
            upstream * self._pair_weights(similarities, masks, tuple(statistics))
            for *statistics, upstream in (own_columns, all_rows)
        )
        return tf.matmul(rowwise + columnwise, pairs.references)

    def _plain_two_sided_gradient(
        self,
        pairs: PairBatch,
        similarities: tf.Tensor,
        statistics: tf.Tensor,
        upstream: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the gradients by anchors and by separate references."""
        statistics = _as_columns(tf.unstack(statistics, axis=1))
        weights = self._pair_weights(similarities, pairs.masks(), statistics)
        return both_gradients(upstream[:, tf.newaxis] * weights, pairs)

    def _plain_weights(self, pairs: PairBatch) -> tf.Tensor:
        similarities, masks = pairs.similarities(), pairs.masks()
        statistics = _as_columns(self._statistics(similarities, *masks))
        return self._pair_weights(similarities, masks, statistics)

    def _plain_summary(self, pairs: PairBatch) -> PairSummary:
        weights = self._plain_weights(pairs)
        return summarise(weights, pairs.similarities(), *pairs.masks())


def _as_columns(statistics: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
    return tuple(statistic[:, tf.newaxis] for statistic in statistics)
