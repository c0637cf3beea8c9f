"""Neighbourhood components analysis (Goldberger et al., NeurIPS 2004)."""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from ms_keras.losses import engine, masked
from ms_keras.losses.exponential import ExponentialWeighting
from ms_keras.losses.pair_loss import PairLoss, recipe_of
from ms_keras.losses.recipe import Mining, PairMining


@tf.keras.utils.register_keras_serializable(package="ms_keras")
@dataclasses.dataclass(frozen=True)
class NCAWeighting(ExponentialWeighting):
    """All positives together in a softmax against all negatives of their anchor.

    Attributes:
        scale: Factor on similarities. Defaults to `20.0`.
    """

    above_zero = ("scale",)

    scale: float = 20.0

    def statistics(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Returns the anchors' two logarithms; -inf where there is no pair."""
        logits = self.scale * similarities
        return (
            masked.log_sum_exp(logits, positives, within=self.scale),
            masked.log_sum_exp(logits, negatives, within=self.scale),
        )

    def losses(self, statistics: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Returns minus the logarithm of the positives' part of the softmax."""
        return tf.nn.softplus(_gap(statistics))

    @property
    def largest_exponent(self) -> float:
        """In size, at a similarity of 1 or -1."""
        return self.scale

    def exponents(self, similarities: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns logits: a pair's sign does not matter to them."""
        logits = self.scale * similarities
        return logits, logits

    def log_factors(
        self, statistics: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns each sign's softmax, times the part that falls to negatives."""
        wrong = math.log(self.scale) + tf.math.log_sigmoid(_gap(statistics))
        answerable = statistics[0] > -float("inf")
        return tuple(masked.only_where(answerable, wrong - log) for log in statistics)


def _gap(statistics: tuple[tf.Tensor, ...]) -> tf.Tensor:
    """Returns how far negatives are above positives; -inf where either lacks."""
    positive, negative = statistics
    nothing = tf.fill(tf.shape(positive), -float("inf"))
    nothing = tf.cast(nothing, positive.dtype)
    return tf.where(positive > nothing, negative - positive, nothing)


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class NCALoss(PairLoss):
    """NCA loss: how likely a softmax over all pairs takes a negative for a neighbour.

    For each anchor i, with cosine similarities S, positives P_i, negatives N_i:

        loss_i = - log  sum_{k in P_i} exp(scale S_ik)
                       ---------------------------------
                       sum_{k in P_i, N_i} exp(scale S_ik)

    Close positives outweigh distant ones: it is enough that one is near. Anchors that
    lack pairs of one sign give 0.

    Args:
        scale: Factor on similarities, above 0. Defaults to `20.0`, a temperature of
            0.05, as in Wu et al. for unit rows; squared Euclidean distances, as in
            Goldberger et al., are `2.0`.
        mining: Which pairs count. Defaults to `None`: all of them.
        reduction: Keras reduction over anchors. Defaults to `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `"nca_loss"`.

    Raises:
        ValueError: If a parameter is out of range. When called: as `PairLoss`.

    Example:
    ```python
    model.compile(optimizer="adam", loss=ms_keras.NCALoss())
    ```

    Reference:
        Goldberger et al., "Neighbourhood Components Analysis", NeurIPS 2004; on unit
        rows Wu et al., "Improving Generalization via Scalable Neighborhood Component
        Analysis", ECCV 2018, https://arxiv.org/abs/1808.04699.
    """

    def __init__(
        self,
        scale: float = 20.0,
        mining: Mining | PairMining | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "nca_loss",
    ) -> None:
        super().__init__(NCAWeighting(scale), mining, reduction, name)


def nca_loss(
    labels: tf.Tensor,
    embeddings: tf.Tensor,
    reference_labels: tf.Tensor | None = None,
    references: tf.Tensor | None = None,
    *,
    scale: float = 20.0,
    mining: Mining | PairMining | None = None,
) -> tf.Tensor:
    """Returns the NCA loss of every anchor: `[m]`.

    Args:
        labels: `[m]` or `[m, 1]` integer class ids.
        embeddings: `[m, dim]` floats of any precision, normalised inside.
        reference_labels: `[n]` class ids. Defaults to `None`: the anchors are their
            own references, without self-pairs.
        references: `[n, dim]` floats. Defaults to `None`.
        scale: See `NCALoss`.
        mining: See `NCALoss`.

    Raises:
        ValueError: As `NCALoss`; also if only one of `references` and
            `reference_labels` is given.
    """
    recipe = recipe_of(NCAWeighting(scale), mining)
    return engine.pair_losses(recipe, labels, embeddings, reference_labels, references)
