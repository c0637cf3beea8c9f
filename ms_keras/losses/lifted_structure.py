"""Lifted structure loss (Song et al., CVPR 2016), as the paper has it."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from ms_keras.losses import engine, masked
from ms_keras.losses.exponential import ExponentialWeighting
from ms_keras.losses.pair_loss import PairLoss, recipe_of
from ms_keras.losses.recipe import Mining, PairMining


@tf.keras.utils.register_keras_serializable(package="ms_keras")
@dataclasses.dataclass(frozen=True)
class LiftedStructureWeighting(ExponentialWeighting):
    """A pair against its anchor's other pairs of the same sign (paper Eq. 7, 8).

    Attributes:
        margin: What the sum of the two logarithms must stay below, negated. Defaults
            to `1.0`.
    """

    margin: float = 1.0

    def statistics(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Returns the anchors' two logarithms; -inf where there is no pair."""
        return (
            masked.log_sum_exp(
                self.margin - similarities, positives, within=abs(self.margin) + 1
            ),
            masked.log_sum_exp(similarities, negatives, within=1),
        )

    def losses(self, statistics: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Returns the summands of Eq. 6."""
        positive, negative = statistics
        return tf.nn.relu(positive + negative)

    @property
    def largest_exponent(self) -> float:
        """In size, at a similarity of 1 or -1."""
        return abs(self.margin) + 1

    def exponents(self, similarities: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the exponents of Eq. 6."""
        return self.margin - similarities, similarities

    def log_factors(
        self, statistics: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the logarithms of Eq. 7 and 8 without their numerators."""
        positive, negative = statistics
        active = positive + negative > 0
        return tuple(masked.only_where(active, -log) for log in statistics)


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class LiftedStructureLoss(PairLoss):
    """Lifted structure loss: each pair against the others of its anchor and sign.

    For each anchor i, with cosine similarities S, positives P_i, negatives N_i (paper
    Eq. 6, whose lambda is the margin here):

        loss_i = [ log sum_{k in P_i} exp(margin - S_ik)
                 + log sum_{k in N_i} exp(S_ik) ]_+

    Where the hinge is active, the weights of either sign sum to 1 per anchor, and none
    changes when all of them shift by the same amount. Anchors that lack pairs of one
    sign give 0.

    Args:
        margin: How far positives should be above negatives. Defaults to `1.0`, as in
            Song et al., whose margin is of Euclidean distances.
        mining: Which pairs count. Defaults to `None`: all of them.
        reduction: Keras reduction over anchors. Defaults to `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `"lifted_structure_loss"`.

    Raises:
        ValueError: If a parameter is out of range. When called: as `PairLoss`.

    Example:
    ```python
    model.compile(optimizer="adam", loss=ms_keras.LiftedStructureLoss())
    ```

    Reference:
        Song et al., "Deep Metric Learning via Lifted Structured Feature Embedding",
        CVPR 2016, https://arxiv.org/abs/1511.06452; in the form per anchor of Hermans
        et al., "In Defense of the Triplet Loss", https://arxiv.org/abs/1703.07737.
    """

    def __init__(
        self,
        margin: float = 1.0,
        mining: Mining | PairMining | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "lifted_structure_loss",
    ) -> None:
        super().__init__(LiftedStructureWeighting(margin), mining, reduction, name)


def lifted_structure_loss(
    labels: tf.Tensor,
    embeddings: tf.Tensor,
    reference_labels: tf.Tensor | None = None,
    references: tf.Tensor | None = None,
    *,
    margin: float = 1.0,
    mining: Mining | PairMining | None = None,
) -> tf.Tensor:
    """Returns the lifted structure loss of every anchor: `[m]`.

    Args:
        labels: `[m]` or `[m, 1]` integer class ids.
        embeddings: `[m, dim]` floats of any precision, normalised inside.
        reference_labels: `[n]` class ids. Defaults to `None`: the anchors are their
            own references, without self-pairs.
        references: `[n, dim]` floats. Defaults to `None`.
        margin: See `LiftedStructureLoss`.
        mining: See `LiftedStructureLoss`.

    Raises:
        ValueError: As `LiftedStructureLoss`; also if only one of `references` and
            `reference_labels` is given.
    """
    recipe = recipe_of(LiftedStructureWeighting(margin), mining)
    return engine.pair_losses(recipe, labels, embeddings, reference_labels, references)
