"""Whether two contenders answer the same queries, apart from ties."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmarks.recall.vectors import Vectors

# Similarities this close may come in either order: twice what we hold for a tie, since
# a peer rounds too.
_TIE = 16 * float(np.finfo(np.float32).eps)
_MOST_CHECKED = 256  # queries; were more of them ties, the vectors would be at fault
_BLOCK_ROWS = 1 << 13  # held in float64 at a time


class Agreement(NamedTuple):
    """How far a contender is off ours at one K.

    Attributes:
        points: Its Recall@K minus ours, in %.
        unexplained: Share of the queries, in %, that one of the two answers and the
            other does not, though similarities do not tie.
    """

    points: float
    unexplained: float


def recall_of(ranks: np.ndarray, k: int) -> float:
    """Returns the share of queries whose first positive is among k neighbours."""
    return float(np.mean(ranks <= k))


def agreement(
    vectors: Vectors, ours: np.ndarray, theirs: np.ndarray, k: int
) -> Agreement:
    """Compares ranks at one K.

    Args:
        vectors: What was searched; every row has a positive.
        ours: `[queries]` ranks of the first positive.
        theirs: `[queries]` likewise.
        k: Neighbours looked at.
    """
    differ = np.flatnonzero((ours <= k) != (theirs <= k))
    ties = np.count_nonzero(_ties(vectors, differ[:_MOST_CHECKED], k))
    return Agreement(
        100 * (recall_of(theirs, k) - recall_of(ours, k)),
        100 * (len(differ) - int(ties)) / len(ours),
    )


def _ties(vectors: Vectors, queries: np.ndarray, k: int) -> np.ndarray:
    """Returns `[queries]` bool: whether ties decide if a positive is among k.

    Similarities are computed in float64, apart from everything that is compared.
    """
    similarities = np.empty((len(queries), len(vectors.rows)))
    exact = vectors.rows[queries].astype(np.float64)
    for begin in range(0, len(vectors.rows), _BLOCK_ROWS):
        some = slice(begin, begin + _BLOCK_ROWS)
        similarities[:, some] = exact @ vectors.rows[some].astype(np.float64).T
    same = vectors.labels[queries, np.newaxis] == vectors.labels
    negatives = np.where(same, -np.inf, similarities)
    similarities[np.arange(len(queries)), queries] = -np.inf
    best = np.where(same, similarities, -np.inf).max(axis=1, keepdims=True)
    surely = np.count_nonzero(negatives > best + _TIE, axis=1)
    perhaps = np.count_nonzero(negatives >= best - _TIE, axis=1)
    return (surely < k) & (k <= perhaps)
