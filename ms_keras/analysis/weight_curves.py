"""How the weight of a pair depends on its similarity alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ms_keras.analysis.anchor_row import row_weights
from ms_keras.losses import PairLoss

# The anchor's other pairs, which stay where they are: an anchor half-way through
# training, whose positives and negatives overlap, around the common lambda of 0.5. No
# round numbers, lest a margin be met exactly and rounding decide.
OTHER_POSITIVES = (0.697, 0.603, 0.451)
OTHER_NEGATIVES = (0.548, 0.394, 0.252, 0.107)

HEADER = ("loss", "similarity", "positive_weight", "negative_weight")


class WeightCurve(NamedTuple):
    """Weights without sign; each `[points]`.

    Attributes:
        similarities: Of the pair that moves.
        positive: Its weight if it is the anchor's fourth positive.
        negative: Its weight if it is the anchor's fifth negative.
    """

    similarities: np.ndarray
    positive: np.ndarray
    negative: np.ndarray


def weight_curve(loss: PairLoss, points: int = 401) -> WeightCurve:
    """Moves one pair of an anchor from similarity -1 to 1 and returns its weights.

    The anchor has the positives `OTHER_POSITIVES` and the negatives `OTHER_NEGATIVES`
    besides the pair that moves, first as a positive, then as a negative.

    Args:
        loss: Whose weights.
        points: Similarities to look at. Defaults to `401`.
    """
    moving = np.linspace(-1, 1, points)
    positives = np.tile(OTHER_POSITIVES, (points, 1))
    negatives = np.tile(OTHER_NEGATIVES, (points, 1))
    positive, _ = row_weights(loss, np.column_stack([moving, positives]), negatives)
    _, negative = row_weights(loss, positives, np.column_stack([moving, negatives]))
    return WeightCurve(moving, positive[:, 0], negative[:, 0])


def curve_rows(curves: dict[str, WeightCurve]) -> list[tuple]:
    """Returns the rows of the curves' CSV file, in the order of `HEADER`."""
    return [
        (name, *point)
        for name, curve in curves.items()
        for point in zip(*curve, strict=True)
    ]
