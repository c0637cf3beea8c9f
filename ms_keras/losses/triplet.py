"""Triplet loss (Schroff et al., CVPR 2015), on similarities."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from ms_keras.losses import engine, masked
from ms_keras.losses.hardest_triplet import HardestTripletWeighting
from ms_keras.losses.pair_loss import PairLoss, recipe_of
from ms_keras.losses.recipe import BatchWeighting, Mining, PairMining

SELECTIONS = ("all", "semi_hard")


@tf.keras.utils.register_keras_serializable(package="ms_keras")
@dataclasses.dataclass(frozen=True)
class TripletWeighting(BatchWeighting):
    """In how many violating triplets a pair takes part.

    Attributes:
        margin: How far a positive should be above a negative. Defaults to `0.1`.
        selection: Which triplets count, `"all"` or `"semi_hard"`, as in `TripletLoss`.
            Its `"hard"` is `HardestTripletWeighting`. Defaults to `"all"`.
    """

    margin: float = 0.1
    selection: str = "all"

    def __post_init__(self) -> None:
        """Checks the parameters."""
        super().__post_init__()
        if self.selection not in SELECTIONS:
            raise ValueError(
                f"selection must be one of {SELECTIONS}, or, of a TripletLoss, "
                f"'hard'; got {self.selection!r}."
            )

    def losses(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tf.Tensor:
        """Returns the anchors' sums of hinges."""
        return self._triplets(similarities, positives, negatives)[0]

    def weights(
        self,
        similarities: tf.Tensor,
        positives: tf.Tensor,
        negatives: tf.Tensor,
        upstream: tf.Tensor,
    ) -> tf.Tensor:
        """Returns the number of violating triplets, minus for positives."""
        weights = self._triplets(similarities, positives, negatives)[1]
        return upstream[:, tf.newaxis] * weights

    def _triplets(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns losses `[m]` and their derivative by similarities `[m, n]`.

        Goes through each anchor's positives from the least similar one up, all anchors
        at once; those that are equal are one step. So memory stays at one matrix.
        """
        dtype = similarities.dtype
        infinity = tf.constant(float("inf"), dtype)
        rising = tf.where(positives, similarities, infinity)
        furthest = masked.least(similarities, negatives)[:, tf.newaxis]

        def unfinished(value: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
            return tf.reduce_any(value < infinity)

        def step(
            value: tf.Tensor, losses: tf.Tensor, weights: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            here = positives & (similarities == value)
            equal = masked.count(here, dtype)[:, tf.newaxis]
            hinges, parts, triplets = self._violated(
                similarities, negatives, furthest, value
            )
            losses += (equal * hinges)[:, 0]
            weights += equal * parts - tf.where(here, triplets, 0.0)
            following = masked.least(rising, rising > value)[:, tf.newaxis]
            return following, losses, weights

        first = masked.least(similarities, positives)[:, tf.newaxis]
        nothing = tf.zeros_like(similarities)
        state = (first, tf.zeros_like(first[:, 0]), nothing)
        return tf.while_loop(unfinished, step, state)[1:]

    def _violated(
        self,
        similarities: tf.Tensor,
        negatives: tf.Tensor,
        furthest: tf.Tensor,
        value: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the triplets of a positive `[m, 1]` that violate the margin.

        Semi-hard is the most similar negative below it, or else the furthest of all.

        Returns:
            The sum of their hinges `[m, 1]`; each negative's part in them `[m, n]`, in
            which negatives that are equal share one selection; their number `[m, 1]`.
            Nothing violates where the positives are used up, whose value is inf.
        """
        dtype = similarities.dtype
        if self.selection == "all":
            slack = similarities - value + self.margin
            violating = negatives & (slack > 0)
            hinges = masked.total(slack, violating)
            triplets = masked.count(violating, dtype)
            return (
                hinges[:, tf.newaxis],
                tf.cast(violating, dtype),
                triplets[:, tf.newaxis],
            )
        below = masked.largest(similarities, negatives & (similarities < value))
        below = below[:, tf.newaxis]
        target = tf.where(below > -float("inf"), below, furthest)
        slack = target - value + self.margin
        violating = (slack > 0) & (target < float("inf"))  # inf for lack of a negative
        chosen = tf.cast(negatives & violating & (similarities == target), dtype)
        parts = tf.math.divide_no_nan(chosen, masked.row_sum(chosen)[:, tf.newaxis])
        return tf.where(violating, slack, 0.0), parts, tf.cast(violating, dtype)


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class TripletLoss(PairLoss):
    """Triplet loss: each positive above each negative by a margin.

    For each anchor i, with cosine similarities S, positives P_i, negatives N_i (paper
    Eq. 5, summed over triplets):

        loss_i = sum_{p in P_i} sum_{k in N_i} [S_ik - S_ip + margin]_+

    A pair weighs as much as there are violating triplets it is in. Its cost grows with
    the positives of an anchor: each is one pass over the matrix of pairs.

    Args:
        margin: How far a positive should be above a negative. Defaults to `0.1`, which
            is Schroff's margin of 0.2 in squared Euclidean distance.
        selection: `"all"`; `"semi_hard"`: for each positive only the most similar
            negative below it, or the least similar one if all are above (Schroff et
            al.); `"hard"`: for each anchor only the least similar positive with the
            most similar negative (batch-hard, Hermans et al.). Equals share a place.
            Defaults to `"all"`.
        mining: Which pairs count. Defaults to `None`: all of them.
        reduction: Keras reduction over anchors. Defaults to `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `"triplet_loss"`.

    Raises:
        ValueError: If a parameter is out of range. When called: as `PairLoss`.

    Example:
    ```python
    model.compile(optimizer="adam", loss=ms_keras.TripletLoss(selection="semi_hard"))
    ```

    Reference:
        Schroff et al., "FaceNet", CVPR 2015, https://arxiv.org/abs/1503.03832; Hermans
        et al., "In Defense of the Triplet Loss", https://arxiv.org/abs/1703.07737.
    """

    def __init__(
        self,
        margin: float = 0.1,
        selection: str = "all",
        mining: Mining | PairMining | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "triplet_loss",
    ) -> None:
        super().__init__(_weighting(margin, selection), mining, reduction, name)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as plain JSON types."""
        # The hardest triplets' weighting has no selection of its own.
        return {"selection": "hard", **super().get_config()}


def triplet_loss(
    labels: tf.Tensor,
    embeddings: tf.Tensor,
    reference_labels: tf.Tensor | None = None,
    references: tf.Tensor | None = None,
    *,
    margin: float = 0.1,
    selection: str = "all",
    mining: Mining | PairMining | None = None,
) -> tf.Tensor:
    """Returns the triplet loss of every anchor: `[m]`.

    Args:
        labels: `[m]` or `[m, 1]` integer class ids.
        embeddings: `[m, dim]` floats of any precision, normalised inside.
        reference_labels: `[n]` class ids. Defaults to `None`: the anchors are their
            own references, without self-pairs.
        references: `[n, dim]` floats. Defaults to `None`.
        margin: See `TripletLoss`.
        selection: See `TripletLoss`.
        mining: See `TripletLoss`.

    Raises:
        ValueError: As `TripletLoss`; also if only one of `references` and
            `reference_labels` is given.
    """
    recipe = recipe_of(_weighting(margin, selection), mining)
    return engine.pair_losses(recipe, labels, embeddings, reference_labels, references)


def _weighting(
    margin: float, selection: str
) -> TripletWeighting | HardestTripletWeighting:
    if selection == "hard":
        return HardestTripletWeighting(margin)
    return TripletWeighting(margin, selection)
