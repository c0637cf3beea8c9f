"""The engine: from labels and embeddings to losses, pair weights and gradients.

General Pair Weighting (paper section 3) says that a pair loss is mining plus weighting
and that its weights are its derivative by the similarities. A recipe brings these two;
everything that they share is here, once: unit-norm rows, masks, references gathered
across replicas, XLA, and the gradient by the embeddings built from the weights.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import tensorflow as tf

from ms_keras.losses import replicas
from ms_keras.losses.mining import Bounds, keep
from ms_keras.losses.pairs import PairBatch, checked, checked_references
from ms_keras.losses.recipe import PairRecipe


def pair_losses(
    recipe: PairRecipe,
    labels: tf.Tensor,
    embeddings: tf.Tensor,
    reference_labels: tf.Tensor | None = None,
    references: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns the loss of every anchor, `[batch]`; differentiable by all embeddings.

    Without references the anchors are their own, those of all replicas under
    `tf.distribute`. Arguments and errors are those of `multi_similarity_loss`.
    """
    labels, embeddings = checked(labels, embeddings)
    core = _core(recipe)
    if references is None and reference_labels is None:
        return _batch_losses(core, labels, embeddings)
    reference_labels, references = checked_references(
        reference_labels, references, embeddings
    )

    @tf.custom_gradient
    def losses_of(anchors: tf.Tensor, references: tf.Tensor) -> tuple:
        pairs = _query_gallery(labels, anchors, reference_labels, references)
        losses, similarities, statistics = core.forward(pairs)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return core.two_sided_gradient(pairs, similarities, statistics, upstream)

        return losses, gradient

    return losses_of(embeddings, references)


def pair_weights(
    recipe: PairRecipe,
    labels: tf.Tensor,
    embeddings: tf.Tensor,
    reference_labels: tf.Tensor | None = None,
    references: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns the signed weights `[m, n]`: d(sum of the anchors' losses) / dS."""
    labels, embeddings = checked(labels, embeddings)
    if references is None and reference_labels is None:
        rows = tf.range(tf.shape(embeddings)[0])
        pairs = PairBatch(embeddings, embeddings, labels, labels, rows)
    else:
        reference_labels, references = checked_references(
            reference_labels, references, embeddings
        )
        pairs = _query_gallery(labels, embeddings, reference_labels, references)
    return _core(recipe).weights(pairs)


def kept_pairs(
    recipe: PairRecipe, labels: tf.Tensor, embeddings: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns how many positives and negatives each anchor keeps, `[batch]` each.

    As in `pair_losses`, references are the anchors of all replicas.
    """
    labels, embeddings = checked(labels, embeddings)
    pairs = _batch_against_all(labels, embeddings, replicas.gather(labels))
    return _core(recipe).kept(pairs)


def _batch_losses(core: _Core, labels: tf.Tensor, embeddings: tf.Tensor) -> tf.Tensor:
    all_labels = replicas.gather(labels)

    @tf.custom_gradient
    def losses_of(anchors: tf.Tensor) -> tuple:
        pairs = _batch_against_all(labels, anchors, all_labels)
        losses, similarities, statistics = core.forward(pairs)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            # Only these few numbers per anchor cross the replicas backwards; each
            # replica then computes the whole gradient of its own embeddings.
            own = tf.concat([statistics, upstream[:, tf.newaxis]], axis=1)
            return core.one_sided_gradient(
                pairs, similarities, own, replicas.gather(own)
            )

        return losses, gradient

    return losses_of(embeddings)


def _batch_against_all(
    labels: tf.Tensor, anchors: tf.Tensor, all_labels: tf.Tensor
) -> PairBatch:
    return PairBatch(
        anchors=anchors,
        references=replicas.gather(anchors),
        anchor_labels=labels,
        reference_labels=all_labels,
        self_indices=replicas.global_indices(tf.shape(anchors)[0]),
    )


def _query_gallery(
    labels: tf.Tensor,
    anchors: tf.Tensor,
    reference_labels: tf.Tensor,
    references: tf.Tensor,
) -> PairBatch:
    nowhere = tf.fill([tf.shape(anchors)[0]], -1)
    return PairBatch(anchors, references, labels, reference_labels, nowhere)


class _Core:
    """A recipe's computations on one device, each compiled by XLA."""

    def __init__(self, recipe: PairRecipe) -> None:
        self._recipe = recipe
        compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
        self.forward = compiled(self._forward)
        self.one_sided_gradient = compiled(self._one_sided_gradient)
        self.two_sided_gradient = compiled(self._two_sided_gradient)
        self.weights = compiled(self._weights)
        self.kept = compiled(self._kept)

    def _forward(self, pairs: PairBatch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns losses `[m]`, similarities `[m, n]` and statistics `[m, k]`."""
        similarities = pairs.similarities()
        statistics = self._statistics(similarities, *pairs.masks())
        losses = self._recipe.weighting.losses(statistics[2:])
        # Comparisons with NaN keep no pair: without this the loss would look like 0.
        broken = tf.math.is_nan(tf.reduce_sum(similarities, axis=1))
        losses = tf.where(broken, tf.constant(float("nan"), losses.dtype), losses)
        return losses, similarities, tf.stack(statistics, axis=1)

    def _statistics(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        bounds = self._recipe.mining.bounds(similarities, positives, negatives)
        kept = keep(Bounds(*_as_columns(bounds)), similarities, positives, negatives)
        return (*bounds, *self._recipe.weighting.statistics(similarities, *kept))

    def _pair_weights(
        self,
        similarities: tf.Tensor,
        masks: tuple[tf.Tensor, tf.Tensor],
        statistics: tuple[tf.Tensor, ...],
    ) -> tf.Tensor:
        """Returns weights, given statistics broadcastable against similarities."""
        kept = keep(Bounds(*statistics[:2]), similarities, *masks)
        return self._recipe.weighting.weights(similarities, *kept, statistics[2:])

    def _one_sided_gradient(
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

    def _two_sided_gradient(
        self,
        pairs: PairBatch,
        similarities: tf.Tensor,
        statistics: tf.Tensor,
        upstream: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the gradients by anchors and by separate references."""
        statistics = _as_columns(tf.unstack(statistics, axis=1))
        weights = self._pair_weights(similarities, pairs.masks(), statistics)
        weights *= upstream[:, tf.newaxis]
        return (
            tf.matmul(weights, pairs.references),
            tf.matmul(weights, pairs.anchors, transpose_a=True),
        )

    def _weights(self, pairs: PairBatch) -> tf.Tensor:
        similarities, masks = pairs.similarities(), pairs.masks()
        statistics = _as_columns(self._statistics(similarities, *masks))
        return self._pair_weights(similarities, masks, statistics)

    def _kept(self, pairs: PairBatch) -> tuple[tf.Tensor, tf.Tensor]:
        similarities, masks = pairs.similarities(), pairs.masks()
        bounds = self._recipe.mining.bounds(similarities, *masks)
        kept = keep(Bounds(*_as_columns(bounds)), similarities, *masks)
        positives, negatives = (
            tf.reduce_sum(tf.cast(mask, tf.float32), axis=1) for mask in kept
        )
        return positives, negatives


@functools.cache
def _core(recipe: PairRecipe) -> _Core:
    return _Core(recipe)


def _as_columns(statistics: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
    return tuple(statistic[:, tf.newaxis] for statistic in statistics)
