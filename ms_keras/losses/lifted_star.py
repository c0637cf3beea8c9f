"""Lifted*: the lifted structure loss as the paper's ablation modifies it."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from ms_keras.losses import engine, masked
from ms_keras.losses.exponential import ExponentialWeighting
from ms_keras.losses.pair_loss import PairLoss, recipe_of
from ms_keras.losses.recipe import Mining, PairMining


@tf.keras.utils.register_keras_serializable(package="ms_keras")
@dataclasses.dataclass(frozen=True)
class LiftedStarWeighting(ExponentialWeighting):
    """A pair against its anchor's other pairs of the same sign, sharpened.

    Attributes:
        alpha: Sharpness over positives. Defaults to `2.0`.
        beta: Sharpness over negatives. Defaults to `40.0`.
    """

    above_zero = ("alpha", "beta")

    alpha: float = 2.0
    beta: float = 40.0

    def statistics(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Returns the anchors' two logarithms; -inf where there is no pair."""
        return (
            masked.log_sum_exp(-self.alpha * similarities, positives, self.alpha),
            masked.log_sum_exp(self.beta * similarities, negatives, self.beta),
        )

    def losses(self, statistics: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Returns the soft maximum of negatives minus that of positives."""
        positive, negative = statistics
        losses = positive / self.alpha + negative / self.beta
        return tf.where(_complete(statistics), losses, tf.zeros_like(losses))

    @property
    def largest_exponent(self) -> float:
        """In size, at similarities of 1 and -1."""
        return max(self.alpha, self.beta)

    def exponents(self, similarities: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns similarities, sharpened."""
        return -self.alpha * similarities, self.beta * similarities

    def log_factors(
        self, statistics: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the logarithms of two softmaxes' denominators, negated."""
        complete = _complete(statistics)
        return tuple(masked.only_where(complete, -log) for log in statistics)


def _complete(statistics: tuple[tf.Tensor, ...]) -> tf.Tensor:
    """Tells which anchors have pairs of both signs."""
    positive, negative = statistics
    return positive + negative > -float("inf")


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class LiftedStarLoss(PairLoss):
    """Lifted*: the lifted structure loss without its hinge, and with sharpness.

    For each anchor i, with cosine similarities S, positives P_i, negatives N_i:

        loss_i = 1/alpha log sum_{k in P_i} exp(-alpha S_ik)
               + 1/beta  log sum_{k in N_i} exp( beta S_ik)

    It is the baseline of the paper's ablation, which found the plain form too weak, as
    the authors' code has it (up to a factor of 2). The weights of either sign sum to 1
    per anchor, and none changes when all similarities shift by the same amount: compare
    Eq. 15, whose "1 +" brings in a pair's own similarity. The loss may fall below 0.
    Anchors that lack pairs of one sign give 0.

    Args:
        alpha: Sharpness over positives, above 0. Defaults to `2.0`.
        beta: Sharpness over negatives, above 0. Defaults to `40.0`.
        mining: Which pairs count. Defaults to `None`: all of them.
        reduction: Keras reduction over anchors. Defaults to `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `"lifted_star_loss"`.

    Raises:
        ValueError: If a parameter is out of range. When called: as `PairLoss`.

    Example:
    ```python
    model.compile(optimizer="adam", loss=ms_keras.LiftedStarLoss())
    ```

    Reference:
        Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric
        Learning", CVPR 2019, https://arxiv.org/abs/1904.06627.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 40.0,
        mining: Mining | PairMining | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "lifted_star_loss",
    ) -> None:
        super().__init__(LiftedStarWeighting(alpha, beta), mining, reduction, name)


def lifted_star_loss(
    labels: tf.Tensor,
    embeddings: tf.Tensor,
    reference_labels: tf.Tensor | None = None,
    references: tf.Tensor | None = None,
    *,
    alpha: float = 2.0,
    beta: float = 40.0,
    mining: Mining | PairMining | None = None,
) -> tf.Tensor:
    """Returns the Lifted* loss of every anchor: `[m]`.

    Args:
        labels: `[m]` or `[m, 1]` integer class ids.
        embeddings: `[m, dim]` floats of any precision, normalised inside.
        reference_labels: `[n]` class ids. Defaults to `None`: the anchors are their
            own references, without self-pairs.
        references: `[n, dim]` floats. Defaults to `None`.
        alpha: See `LiftedStarLoss`.
        beta: See `LiftedStarLoss`.
        mining: See `LiftedStarLoss`.

    Raises:
        ValueError: As `LiftedStarLoss`; also if only one of `references` and
            `reference_labels` is given.
    """
    recipe = recipe_of(LiftedStarWeighting(alpha, beta), mining)
    return engine.pair_losses(recipe, labels, embeddings, reference_labels, references)
