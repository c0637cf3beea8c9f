"""Binomial deviance (Yi et al., ICPR 2014)."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from ms_keras.losses import engine, masked
from ms_keras.losses.pair_loss import PairLoss, recipe_of
from ms_keras.losses.recipe import Mining, PairMining, Weighting


@tf.keras.utils.register_keras_serializable(package="ms_keras")
@dataclasses.dataclass(frozen=True)
class BinomialDevianceWeighting(Weighting):
    """A logistic function of a pair's own similarity (paper Eq. 10).

    Attributes:
        alpha: Sharpness over positives. Defaults to `2.0`.
        beta: Sharpness over negatives. Defaults to `50.0`.
        lambda_: Similarity at which a weight is half its largest. Defaults to `0.5`.
        scaled: Whether the two sums are divided by their sharpness. Defaults to
            `False`.
    """

    above_zero = ("alpha", "beta")

    alpha: float = 2.0
    beta: float = 50.0
    lambda_: float = 0.5
    scaled: bool = False

    def statistics(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Returns what a positive and a negative count, and the anchors' losses."""
        dtype = similarities.dtype
        per_positive = masked.share(positives, dtype) / self._scale(self.alpha)
        per_negative = masked.share(negatives, dtype) / self._scale(self.beta)
        pull = tf.nn.softplus(self.alpha * (self.lambda_ - similarities))
        push = tf.nn.softplus(self.beta * (similarities - self.lambda_))
        losses = per_positive * masked.total(pull, positives)
        losses += per_negative * masked.total(push, negatives)
        return per_positive, per_negative, losses

    def losses(self, statistics: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Returns the summands of Eq. 9."""
        return statistics[2]

    def weights(
        self,
        similarities: tf.Tensor,
        positives: tf.Tensor,
        negatives: tf.Tensor,
        statistics: tuple[tf.Tensor, ...],
    ) -> tf.Tensor:
        """Returns minus and plus Eq. 10."""
        per_positive, per_negative, _ = statistics
        pull = tf.sigmoid(self.alpha * (self.lambda_ - similarities))
        push = tf.sigmoid(self.beta * (similarities - self.lambda_))
        return masked.signed(
            positives,
            self.alpha * per_positive * pull,
            negatives,
            self.beta * per_negative * push,
        )

    def _scale(self, sharpness: float) -> float:
        return sharpness if self.scaled else 1.0


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class BinomialDevianceLoss(PairLoss):
    """Binomial deviance: each pair by its own similarity, softly.

    For each anchor i, with cosine similarities S, positives P_i, negatives N_i (paper
    Eq. 9):

        loss_i = mean_{k in P_i} log[1 + exp(alpha (lambda - S_ik))]
               + mean_{k in N_i} log[1 + exp(beta (S_ik - lambda))]

    A weight (Eq. 10) depends on the similarity of its pair alone, and on how many pairs
    the anchor has. A mean over no pair is 0.

    Args:
        alpha: Sharpness over positives, above 0. Defaults to `2.0`.
        beta: Sharpness over negatives, above 0. Defaults to `50.0`: Yi's cost of 25
            for negatives times his sharpness of 2.
        lambda_: Similarity at which a weight is half its largest. Defaults to `0.5`.
        scaled: Whether the two means are divided by alpha and beta, as the authors'
            code does beside mining, so that an anchor's weights of either sign sum to
            1 at most, as in the Multi-Similarity loss. Defaults to `False`: Eq. 9.
        mining: Which pairs count. Defaults to `None`: all of them.
        reduction: Keras reduction over anchors. Defaults to `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `"binomial_deviance_loss"`.

    Raises:
        ValueError: If a parameter is out of range. When called: as `PairLoss`.

    Example:
    ```python
    model.compile(optimizer="adam", loss=ms_keras.BinomialDevianceLoss())
    ```

    Reference:
        Yi et al., "Deep Metric Learning for Practical Person Re-Identification", ICPR
        2014, https://arxiv.org/abs/1407.4979.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        lambda_: float = 0.5,
        scaled: bool = False,
        mining: Mining | PairMining | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "binomial_deviance_loss",
    ) -> None:
        super().__init__(
            BinomialDevianceWeighting(alpha, beta, lambda_, scaled),
            mining,
            reduction,
            name,
        )


def binomial_deviance_loss(
    labels: tf.Tensor,
    embeddings: tf.Tensor,
    reference_labels: tf.Tensor | None = None,
    references: tf.Tensor | None = None,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    lambda_: float = 0.5,
    scaled: bool = False,
    mining: Mining | PairMining | None = None,
) -> tf.Tensor:
    """Returns the binomial deviance of every anchor: `[m]`.

    Args:
        labels: `[m]` or `[m, 1]` integer class ids.
        embeddings: `[m, dim]` floats of any precision, normalised inside.
        reference_labels: `[n]` class ids. Defaults to `None`: the anchors are their
            own references, without self-pairs.
        references: `[n, dim]` floats. Defaults to `None`.
        alpha: See `BinomialDevianceLoss`.
        beta: See `BinomialDevianceLoss`.
        lambda_: See `BinomialDevianceLoss`.
        scaled: See `BinomialDevianceLoss`.
        mining: See `BinomialDevianceLoss`.

    Raises:
        ValueError: As `BinomialDevianceLoss`; also if only one of `references` and
            `reference_labels` is given.
    """
    recipe = recipe_of(BinomialDevianceWeighting(alpha, beta, lambda_, scaled), mining)
    return engine.pair_losses(recipe, labels, embeddings, reference_labels, references)
