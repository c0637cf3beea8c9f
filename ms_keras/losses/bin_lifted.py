"""BinLifted: binomial deviance and Lifted* together, as in the paper's ablation."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from ms_keras.losses import engine
from ms_keras.losses.binomial_deviance import BinomialDevianceWeighting
from ms_keras.losses.lifted_star import LiftedStarWeighting
from ms_keras.losses.pair_loss import PairLoss, recipe_of
from ms_keras.losses.recipe import Mining, PairMining, Weighting


@tf.keras.utils.register_keras_serializable(package="ms_keras")
@dataclasses.dataclass(frozen=True)
class BinLiftedWeighting(Weighting):
    """The mean of the weights of binomial deviance and of Lifted*.

    Attributes:
        alpha: Sharpness over positives. Defaults to `2.0`.
        beta: Sharpness over negatives. Defaults to `50.0`.
        lambda_: Similarity at which binomial weights are half. Defaults to `0.5`.
    """

    above_zero = ("alpha", "beta")

    alpha: float = 2.0
    beta: float = 50.0
    lambda_: float = 0.5

    def statistics(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Returns the statistics of the one, then those of the other."""
        pairs = (similarities, positives, negatives)
        return (*self._binomial.statistics(*pairs), *self._lifted.statistics(*pairs))

    def losses(self, statistics: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Returns the mean of both losses."""
        binomial = self._binomial.losses(statistics[:3])
        return (binomial + self._lifted.losses(statistics[3:])) / 2

    def weights(
        self,
        similarities: tf.Tensor,
        positives: tf.Tensor,
        negatives: tf.Tensor,
        statistics: tuple[tf.Tensor, ...],
    ) -> tf.Tensor:
        """Returns the mean of both weights."""
        pairs = (similarities, positives, negatives)
        binomial = self._binomial.weights(*pairs, statistics[:3])
        return (binomial + self._lifted.weights(*pairs, statistics[3:])) / 2

    @property
    def _binomial(self) -> BinomialDevianceWeighting:
        return BinomialDevianceWeighting(
            self.alpha, self.beta, self.lambda_, scaled=True
        )

    @property
    def _lifted(self) -> LiftedStarWeighting:
        return LiftedStarWeighting(self.alpha, self.beta)


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class BinLiftedLoss(PairLoss):
    """BinLifted: each pair by its own similarity and against its anchor's others.

    The mean of the losses, and so of the pair weights, of binomial deviance (scaled:
    its two means divided by their sharpness) and Lifted*; either part's weights of an
    anchor and sign then sum to 1 at most. The paper's ablation uses the combination as
    a baseline that knows two of the three similarities and still weighs worse than the
    Multi-Similarity loss.

    Args:
        alpha: Sharpness over positives, above 0. Defaults to `2.0`.
        beta: Sharpness over negatives, above 0. Defaults to `50.0`.
        lambda_: Similarity at which the binomial part is half its largest. Defaults to
            `0.5`.
        mining: Which pairs count. Defaults to `None`: all of them.
        reduction: Keras reduction over anchors. Defaults to `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `"bin_lifted_loss"`.

    Raises:
        ValueError: If a parameter is out of range. When called: as `PairLoss`.

    Example:
    ```python
    model.compile(optimizer="adam", loss=ms_keras.BinLiftedLoss())
    ```

    Reference:
        Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric
        Learning", CVPR 2019, https://arxiv.org/abs/1904.06627; how the two are combined
        is told by readers of the paper only.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 50.0,
        lambda_: float = 0.5,
        mining: Mining | PairMining | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "bin_lifted_loss",
    ) -> None:
        super().__init__(
            BinLiftedWeighting(alpha, beta, lambda_), mining, reduction, name
        )


def bin_lifted_loss(
    labels: tf.Tensor,
    embeddings: tf.Tensor,
    reference_labels: tf.Tensor | None = None,
    references: tf.Tensor | None = None,
    *,
    alpha: float = 2.0,
    beta: float = 50.0,
    lambda_: float = 0.5,
    mining: Mining | PairMining | None = None,
) -> tf.Tensor:
    """Returns the BinLifted loss of every anchor: `[m]`.

    Args:
        labels: `[m]` or `[m, 1]` integer class ids.
        embeddings: `[m, dim]` floats of any precision, normalised inside.
        reference_labels: `[n]` class ids. Defaults to `None`: the anchors are their
            own references, without self-pairs.
        references: `[n, dim]` floats. Defaults to `None`.
        alpha: See `BinLiftedLoss`.
        beta: See `BinLiftedLoss`.
        lambda_: See `BinLiftedLoss`.
        mining: See `BinLiftedLoss`.

    Raises:
        ValueError: As `BinLiftedLoss`; also if only one of `references` and
            `reference_labels` is given.
    """
    recipe = recipe_of(BinLiftedWeighting(alpha, beta, lambda_), mining)
    return engine.pair_losses(recipe, labels, embeddings, reference_labels, references)
