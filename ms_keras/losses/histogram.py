"""Histogram loss (Ustinova and Lempitsky, NeurIPS 2016)."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from ms_keras.losses import engine, masked
from ms_keras.losses.pair_loss import PairLoss, recipe_of
from ms_keras.losses.recipe import BatchWeighting, Mining, PairMining


@tf.keras.utils.register_keras_serializable(package="ms_keras")
@dataclasses.dataclass(frozen=True)
class HistogramWeighting(BatchWeighting):
    """How many pairs of the other sign of the whole batch lie at the same similarity.

    Attributes:
        bins: Nodes of the histograms, spread evenly from -1 to 1. Defaults to `151`.
    """

    bins: int = 151

    def __post_init__(self) -> None:
        """Checks the number of nodes."""
        if not isinstance(self.bins, int) or self.bins < 2:
            raise ValueError(
                f"bins must be a whole number of at least 2; got {self.bins}."
            )

    def losses(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tf.Tensor:
        """Returns the batch's one loss, for every anchor."""
        positive = self._histogram(similarities, positives)
        negative = self._histogram(similarities, negatives)
        loss = tf.reduce_sum(negative * tf.cumsum(positive))
        return tf.fill(tf.shape(similarities)[:1], loss)

    def weights(
        self,
        similarities: tf.Tensor,
        positives: tf.Tensor,
        negatives: tf.Tensor,
        upstream: tf.Tensor,
    ) -> tf.Tensor:
        """Returns the height of the other sign's histogram, per pair and step."""
        dtype = similarities.dtype
        positive = self._histogram(similarities, positives)
        negative = self._histogram(similarities, negatives)
        node, _ = self._node_and_rest(similarities)
        # All anchors carry the same loss, so their factors add up.
        factor = tf.reduce_sum(upstream) / self._step
        pull = factor * _inverse(positives, dtype) * tf.gather(negative, node)
        push = factor * _inverse(negatives, dtype) * tf.gather(positive, node + 1)
        return masked.signed(positives, pull, negatives, push)

    @property
    def _step(self) -> float:
        return 2.0 / (self.bins - 1)

    def _node_and_rest(self, similarities: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns each similarity's node below, and the part of a step above it."""
        place = (similarities + 1.0) / self._step
        node = tf.clip_by_value(tf.floor(place), 0.0, self.bins - 2.0)
        return tf.cast(node, tf.int32), tf.clip_by_value(place - node, 0.0, 1.0)

    def _histogram(self, similarities: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
        """Returns the kept pairs' density over the nodes, `[bins]`, summing to 1.

        A pair belongs to its two neighbouring nodes by its distance from each.
        """
        node, rest = self._node_and_rest(similarities)
        kept = tf.cast(kept, similarities.dtype)
        below, above = (
            tf.math.unsorted_segment_sum(part, nodes, self.bins)
            for part, nodes in ((kept * (1.0 - rest), node), (kept * rest, node + 1))
        )
        return tf.math.divide_no_nan(below + above, tf.reduce_sum(kept))


def _inverse(kept: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns 1 / the number of kept pairs, 0 for none."""
    pairs = tf.reduce_sum(tf.cast(kept, dtype))
    return tf.math.divide_no_nan(tf.ones([], dtype), pairs)


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class HistogramLoss(PairLoss):
    """Histogram loss: the chance that a negative pair is more similar than a positive.

    With h+ and h- the histograms of all positive and negative similarities of the
    batch, each pair shared linearly between its two neighbouring nodes:

        loss = sum_r h-_r sum_{q <= r} h+_q

    It is one number of the whole batch, across replicas too; every anchor carries it,
    so that their mean is the loss. A batch without pairs of one sign gives 0. A
    negative pair is weighed by how many positives lie where it lies, and the other way
    round. The loss is linear between two nodes: its weights are steps.

    Args:
        bins: Nodes of the histograms, spread evenly from -1 to 1; 2 at least. Defaults
            to `151`.
        mining: Which pairs count. Defaults to `None`: all of them.
        reduction: Keras reduction over anchors. Defaults to `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `"histogram_loss"`.

    Raises:
        ValueError: If a parameter is out of range. When called: as `PairLoss`.

    Example:
    ```python
    model.compile(optimizer="adam", loss=ms_keras.HistogramLoss())
    ```

    Reference:
        Ustinova and Lempitsky, "Learning Deep Embeddings with Histogram Loss", NeurIPS
        2016, https://arxiv.org/abs/1611.00822.
    """

    def __init__(
        self,
        bins: int = 151,
        mining: Mining | PairMining | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "histogram_loss",
    ) -> None:
        super().__init__(HistogramWeighting(bins), mining, reduction, name)


def histogram_loss(
    labels: tf.Tensor,
    embeddings: tf.Tensor,
    reference_labels: tf.Tensor | None = None,
    references: tf.Tensor | None = None,
    *,
    bins: int = 151,
    mining: Mining | PairMining | None = None,
) -> tf.Tensor:
    """Returns the histogram loss of the batch, for every anchor: `[m]`.

    Args:
        labels: `[m]` or `[m, 1]` integer class ids.
        embeddings: `[m, dim]` floats of any precision, normalised inside.
        reference_labels: `[n]` class ids. Defaults to `None`: the anchors are their
            own references, without self-pairs.
        references: `[n, dim]` floats. Defaults to `None`.
        bins: See `HistogramLoss`.
        mining: See `HistogramLoss`.

    Raises:
        ValueError: As `HistogramLoss`; also if only one of `references` and
            `reference_labels` is given.
    """
    recipe = recipe_of(HistogramWeighting(bins), mining)
    return engine.pair_losses(recipe, labels, embeddings, reference_labels, references)
