"""Contrastive loss (Hadsell et al., CVPR 2006), on similarities."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from ms_keras.losses import engine, masked
from ms_keras.losses.pair_loss import PairLoss, recipe_of
from ms_keras.losses.recipe import Mining, PairMining, Weighting


@tf.keras.utils.register_keras_serializable(package="ms_keras")
@dataclasses.dataclass(frozen=True)
class ContrastiveWeighting(Weighting):
    """1 for every positive, and for every negative above a similarity (paper Eq. 4).

    Attributes:
        lambda_: The similarity above which negatives count. Defaults to `0.5`.
    """

    lambda_: float = 0.5

    def statistics(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Returns the anchors' losses: the weights need nothing."""
        slack = similarities - self.lambda_
        pull = masked.total(1.0 - similarities, positives)
        return (pull + masked.total(slack, negatives & (slack > 0)),)

    def losses(self, statistics: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Returns the summands of Eq. 4, plus 1 for every positive."""
        return statistics[0]

    def weights(
        self,
        similarities: tf.Tensor,
        positives: tf.Tensor,
        negatives: tf.Tensor,
        statistics: tuple[tf.Tensor, ...],
    ) -> tf.Tensor:
        """Returns -1 for positives, 1 for negatives above lambda."""
        active = negatives & (similarities > self.lambda_)
        ones = tf.ones_like(similarities)
        return masked.signed(positives, ones, active, ones)


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class ContrastiveLoss(PairLoss):
    """Contrastive loss: all positives pull alike, negatives push above a threshold.

    For each anchor i, with cosine similarities S, positives P_i, negatives N_i:

        loss_i = sum_{k in P_i} (1 - S_ik) + sum_{k in N_i} [S_ik - lambda]_+

    This is Eq. 4 of the paper plus 1 for every positive, so that a perfect batch gives
    0. Every weight is 0 or 1: it knows a pair's own similarity only, and that as a
    threshold.

    Args:
        lambda_: Similarity above which negatives count; -1 makes all count. Defaults
            to `0.5`, as in the code of the paper's authors.
        mining: Which pairs count. Defaults to `None`: all of them.
        reduction: Keras reduction over anchors. Defaults to `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `"contrastive_loss"`.

    Raises:
        ValueError: If a parameter is out of range. When called: as `PairLoss`.

    Example:
    ```python
    model.compile(optimizer="adam", loss=ms_keras.ContrastiveLoss())
    ```

    Reference:
        Hadsell et al., "Dimensionality Reduction by Learning an Invariant Mapping",
        CVPR 2006, who square Euclidean distances; the form on similarities is Eq. 4 of
        Wang et al., CVPR 2019, https://arxiv.org/abs/1904.06627.
    """

    def __init__(
        self,
        lambda_: float = 0.5,
        mining: Mining | PairMining | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "contrastive_loss",
    ) -> None:
        super().__init__(ContrastiveWeighting(lambda_), mining, reduction, name)


def contrastive_loss(
    labels: tf.Tensor,
    embeddings: tf.Tensor,
    reference_labels: tf.Tensor | None = None,
    references: tf.Tensor | None = None,
    *,
    lambda_: float = 0.5,
    mining: Mining | PairMining | None = None,
) -> tf.Tensor:
    """Returns the contrastive loss of every anchor: `[m]`.

    Args:
        labels: `[m]` or `[m, 1]` integer class ids.
        embeddings: `[m, dim]` floats of any precision, normalised inside.
        reference_labels: `[n]` class ids. Defaults to `None`: the anchors are their
            own references, without self-pairs.
        references: `[n, dim]` floats. Defaults to `None`.
        lambda_: See `ContrastiveLoss`.
        mining: See `ContrastiveLoss`.

    Raises:
        ValueError: As `ContrastiveLoss`; also if only one of `references` and
            `reference_labels` is given.
    """
    recipe = recipe_of(ContrastiveWeighting(lambda_), mining)
    return engine.pair_losses(recipe, labels, embeddings, reference_labels, references)
