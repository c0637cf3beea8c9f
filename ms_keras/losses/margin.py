"""Margin loss (Wu et al., ICCV 2017)."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from ms_keras.losses import engine, masked
from ms_keras.losses.pair_loss import PairLoss, recipe_of
from ms_keras.losses.recipe import Mining, PairMining, Weighting

_TINY = 1e-6  # added to squared distances: their root has a finite slope at 0


@tf.keras.utils.register_keras_serializable(package="ms_keras")
@dataclasses.dataclass(frozen=True)
class MarginWeighting(Weighting):
    """The inverse of a pair's distance, on the wrong side of a boundary.

    Attributes:
        margin: Half the width of the band around the boundary. Defaults to `0.2`.
        beta: The boundary, a Euclidean distance. Defaults to `1.2`.
    """

    margin: float = 0.2
    beta: float = 1.2

    def statistics(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Returns the anchors' losses: the weights need nothing."""
        pull, push = self._slacks(similarities)
        losses = masked.total(tf.nn.relu(pull), positives)
        return (losses + masked.total(tf.nn.relu(push), negatives),)

    def losses(self, statistics: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Returns the anchors' sums of hinges."""
        return statistics[0]

    def weights(
        self,
        similarities: tf.Tensor,
        positives: tf.Tensor,
        negatives: tf.Tensor,
        statistics: tuple[tf.Tensor, ...],
    ) -> tf.Tensor:
        """Returns the slope of the distance, 1 / D, where a hinge is active."""
        pull, push = self._slacks(similarities)
        slope = 1.0 / _distances(similarities)
        return masked.signed(
            positives & (pull > 0), slope, negatives & (push > 0), slope
        )

    def _slacks(self, similarities: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        distances = _distances(similarities)
        return (
            distances - self.beta + self.margin,
            self.beta + self.margin - distances,
        )


def _distances(similarities: tf.Tensor) -> tf.Tensor:
    """Returns Euclidean distances of unit rows from their cosine similarities."""
    return tf.sqrt(tf.nn.relu(2.0 - 2.0 * similarities) + _TINY)


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class MarginLoss(PairLoss):
    """Margin loss: positives within, negatives beyond a boundary of distance.

    For each anchor i, with D = sqrt(2 - 2 S) the Euclidean distance of unit rows:

        loss_i = sum_{k in P_i} [D_ik - beta + margin]_+
               + sum_{k in N_i} [beta + margin - D_ik]_+

    The slope of D by S is -1/D: near pairs pull and push hardest. 1e-6 is added to the
    square of D so that pairs which coincide keep a finite weight.

    The boundary is fixed. Wu et al. may learn it, by class, which would make a layer of
    the loss.

    Args:
        margin: Half the width of the band around the boundary. Defaults to `0.2`.
        beta: The boundary, a Euclidean distance. Defaults to `1.2`.
        mining: Which pairs count. `DistanceWeightedMining()` draws negatives as Wu et
            al. do. Defaults to `None`: all of them.
        reduction: Keras reduction over anchors. Defaults to `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `"margin_loss"`.

    Raises:
        ValueError: If a parameter is out of range. When called: as `PairLoss`.

    Example:
    ```python
    loss = ms_keras.MarginLoss(mining=ms_keras.losses.DistanceWeightedMining())
    model.compile(optimizer="adam", loss=loss)
    ```

    Reference:
        Wu et al., "Sampling Matters in Deep Embedding Learning", ICCV 2017,
        https://arxiv.org/abs/1706.07567.
    """

    def __init__(
        self,
        margin: float = 0.2,
        beta: float = 1.2,
        mining: Mining | PairMining | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "margin_loss",
    ) -> None:
        super().__init__(MarginWeighting(margin, beta), mining, reduction, name)


def margin_loss(
    labels: tf.Tensor,
    embeddings: tf.Tensor,
    reference_labels: tf.Tensor | None = None,
    references: tf.Tensor | None = None,
    *,
    margin: float = 0.2,
    beta: float = 1.2,
    mining: Mining | PairMining | None = None,
) -> tf.Tensor:
    """Returns the margin loss of every anchor: `[m]`.

    Args:
        labels: `[m]` or `[m, 1]` integer class ids.
        embeddings: `[m, dim]` floats of any precision, normalised inside.
        reference_labels: `[n]` class ids. Defaults to `None`: the anchors are their
            own references, without self-pairs.
        references: `[n, dim]` floats. Defaults to `None`.
        margin: See `MarginLoss`.
        beta: See `MarginLoss`.
        mining: See `MarginLoss`.

    Raises:
        ValueError: As `MarginLoss`; also if only one of `references` and
            `reference_labels` is given.
    """
    recipe = recipe_of(MarginWeighting(margin, beta), mining)
    return engine.pair_losses(recipe, labels, embeddings, reference_labels, references)
