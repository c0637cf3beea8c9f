"""The engine's way for recipes that need the matrix of pairs as a whole."""

from __future__ import annotations

import tensorflow as tf

from ms_keras.losses import replicas
from ms_keras.losses.compiling import compiled
from ms_keras.losses.core import both_gradients, differentiated_once, not_hiding_nan
from ms_keras.losses.mining import keep
from ms_keras.losses.pairs import Memory, PairBatch, among_themselves, query_gallery
from ms_keras.losses.recipe import Bounds, Mining, PairRecipe, Weighting
from ms_keras.losses.summary import PairSummary, summarise


class MatrixCore:
    """The computations of any mining with any weighting.

    Each replica computes the pairs of the whole batch and takes its own anchors' part:
    a histogram or a count of triplets is of all of them, and so no matrix of weights
    need travel between replicas. As in `RowCore`, matmuls are TensorFlow's own.
    """

    def __init__(self, recipe: PairRecipe) -> None:
        self._recipe = recipe
        self._losses = compiled(self._plain_losses)
        self._one_sided_weights = compiled(self._plain_one_sided_weights)
        self._two_sided_weights = compiled(self._plain_two_sided_weights)
        self._summary = compiled(self._plain_summary)

    def batch_losses(
        self, labels: tf.Tensor, embeddings: tf.Tensor, memory: Memory | None = None
    ) -> tf.Tensor:
        """Returns losses `[m]` of anchors against all replicas' and a memory."""
        all_labels = replicas.gather(labels)
        local = tf.shape(embeddings)[0]

        @tf.custom_gradient
        def losses_of(embeddings: tf.Tensor) -> tuple:
            # Stopped, or TensorFlow prepares a gradient of its own.
            anchors = tf.stop_gradient(embeddings)
            pairs = among_themselves(all_labels, replicas.gather(anchors))
            pairs = pairs.and_memory(memory)
            similarities = pairs.similarities()
            losses = self._losses(pairs, similarities)

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                weights = self._one_sided_weights(
                    pairs, similarities, replicas.gather(upstream)
                )
                own = replicas.own_rows(weights, local)
                return differentiated_once(tf.matmul(own, pairs.references), embeddings)

            return replicas.own_rows(losses, local), gradient

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
            similarities = pairs.similarities()
            losses = self._losses(pairs, similarities)

            def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                weights = self._two_sided_weights(pairs, similarities, upstream)
                both = both_gradients(weights, pairs)
                return tuple(map(differentiated_once, both, (anchors, references)))

            return losses, gradient

        return losses_of(embeddings, references)

    def weights(self, pairs: PairBatch) -> tf.Tensor:
        """Returns d (sum of losses) / dS: `[m, n]`."""
        # Not compiled with the rest: random draws of a mining hang on the last bit.
        similarities = pairs.similarities()
        everyone = tf.ones(tf.shape(similarities)[:1], similarities.dtype)
        return self._two_sided_weights(pairs, similarities, everyone)

    def batch_summary(self, labels: tf.Tensor, embeddings: tf.Tensor) -> PairSummary:
        """Sums up the pairs of anchors against the anchors of all replicas."""
        pairs = among_themselves(replicas.gather(labels), replicas.gather(embeddings))
        sums = self._summary(pairs, pairs.similarities(), self.weights(pairs))
        local = tf.shape(embeddings)[0]
        return PairSummary(*(replicas.own_rows(rows, local) for rows in sums))

    def _plain_losses(self, pairs: PairBatch, similarities: tf.Tensor) -> tf.Tensor:
        kept = self._kept(pairs, similarities)
        weighting = self._recipe.weighting
        if isinstance(weighting, Weighting):
            losses = weighting.losses(weighting.statistics(similarities, *kept))
        else:
            losses = weighting.losses(similarities, *kept)
        return not_hiding_nan(losses, pairs)

    def _kept(
        self, pairs: PairBatch, similarities: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        mining, masks = self._recipe.mining, pairs.masks()
        if not isinstance(mining, Mining):
            dim = tf.shape(pairs.anchors)[1]
            return mining.masks(similarities, *masks, dim)
        bounds = mining.bounds(similarities, *masks)
        return keep(Bounds(*(b[:, tf.newaxis] for b in bounds)), similarities, *masks)

    def _plain_two_sided_weights(
        self, pairs: PairBatch, similarities: tf.Tensor, upstream: tf.Tensor
    ) -> tf.Tensor:
        """Returns d (sum of upstream x losses) / dS: `[m, n]`."""
        kept = self._kept(pairs, similarities)
        weighting = self._recipe.weighting
        if not isinstance(weighting, Weighting):
            return weighting.weights(similarities, *kept, upstream)
        statistics = weighting.statistics(similarities, *kept)
        columns = tuple(statistic[:, tf.newaxis] for statistic in statistics)
        weights = weighting.weights(similarities, *kept, columns)
        return upstream[:, tf.newaxis] * weights

    def _plain_one_sided_weights(
        self, pairs: PairBatch, similarities: tf.Tensor, upstream: tf.Tensor
    ) -> tf.Tensor:
        """Returns the same for pairs of anchors, from both their ends.

        Those with rows of a memory, which come last, have one end.
        """
        weights = self._plain_two_sided_weights(pairs, similarities, upstream)
        if pairs.filled is None:
            return weights + tf.transpose(weights)
        anchors = tf.shape(weights)[0]
        of_batch, of_memory = tf.split(weights, [anchors, -1], axis=1)
        return tf.concat([of_batch + tf.transpose(of_batch), of_memory], axis=1)

    def _plain_summary(
        self, pairs: PairBatch, similarities: tf.Tensor, weights: tf.Tensor
    ) -> PairSummary:
        return summarise(weights, similarities, *pairs.masks())
