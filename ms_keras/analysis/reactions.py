"""The three similarities of a pair, moved one at a time (the idea of paper Fig. 2).

A loss may look at a pair in three ways: at its self-similarity S, and at its similarity
relative to the anchor's other negatives N and relative to its positives P. To see which
of them the weight of a pair follows, only one may change at a time:

- S: *all* similarities of the anchor move by the same amount, this pair's among them.
  Every difference between two pairs, and so N and P, stays.
- N: only the similarities of the *other* negatives move, together. The pair's own
  stays, and so does its difference to every positive.
- P: only the similarities of the *other* positives move, together.

The pair itself may be a negative (as in the paper's Table 1) or a positive.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ms_keras.analysis.anchor_row import row_weights
from ms_keras.losses import PairLoss

SIMILARITIES = ("S", "N", "P")
PAIRS = ("negative", "positive")

# First comes the pair that is looked at, positive or negative. Moved by up to 0.4, the
# common thresholds and margins are in reach; none is met exactly, where rounding would
# decide.
BASE_POSITIVES = np.array([0.497, 0.593, 0.411, 0.283])
BASE_NEGATIVES = np.array([0.503, 0.472, 0.307, 0.121, 0.034])
FARTHEST = 0.4

HEADER = ("loss", "pair", "moved", "amount", "weight")


class Reaction(NamedTuple):
    """The weight of a pair while one of its three similarities moves.

    Attributes:
        amounts: `[points]`, how far it is moved, in cosine similarity.
        weights: From the pair's kind and the similarity that moves to the pair's
            weights `[points]`, without sign.
    """

    amounts: np.ndarray
    weights: dict[tuple[str, str], np.ndarray]


def reaction(loss: PairLoss, points: int = 321) -> Reaction:
    """Moves each of the three similarities of one pair and returns its weights.

    Args:
        loss: Whose weights.
        points: Amounts to look at, from -0.4 to 0.4. Defaults to `321`.
    """
    amounts = np.linspace(-FARTHEST, FARTHEST, points)
    positives = np.tile(BASE_POSITIVES, (points, 1))
    negatives = np.tile(BASE_NEGATIVES, (points, 1))
    weights = {}
    for pair in PAIRS:
        for which in SIMILARITIES:
            moved = moved_rows(positives, negatives, amounts, pair, which)
            weights[pair, which] = first_pairs_weights(loss, *moved, pair)
    return Reaction(amounts, weights)


def moved_rows(
    positives: np.ndarray,
    negatives: np.ndarray,
    amounts: np.ndarray,
    pair: str,
    which: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns similarities after one of the first pair's three has moved.

    Args:
        positives: `[rows, p]` similarities.
        negatives: `[rows, n]` similarities.
        amounts: `[rows]`, how far to move.
        pair: Which pair is looked at: the first `"positive"` or the first
            `"negative"`.
        which: The similarity that moves: `"S"`, `"N"` or `"P"`.
    """
    columns = amounts[:, np.newaxis]
    if which == "S":
        return positives + columns, negatives + columns
    first_stays = (which == "P") == (pair == "positive")
    rows = (positives if which == "P" else negatives) + columns
    if first_stays:
        rows[:, 0] -= amounts
    return (rows, negatives) if which == "P" else (positives, rows)


def first_pairs_weights(
    loss: PairLoss, positives: np.ndarray, negatives: np.ndarray, pair: str
) -> np.ndarray:
    """Returns the weights `[rows]` of the first positive or the first negative."""
    of_positives, of_negatives = row_weights(loss, positives, negatives)
    return (of_positives if pair == "positive" else of_negatives)[:, 0]


def reaction_rows(reactions: dict[str, Reaction]) -> list[tuple]:
    """Returns the rows of the reactions' CSV file, in the order of `HEADER`."""
    return [
        (name, pair, which, amount, weight)
        for name, found in reactions.items()
        for (pair, which), weights in found.weights.items()
        for amount, weight in zip(found.amounts, weights, strict=True)
    ]
