"""Whether two comparisons of the same methods agree: by rank, and pair by pair."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def agreement(
    paper: Mapping[str, float],
    means: Mapping[str, float],
    deviations: Mapping[str, float],
) -> dict[str, Any]:
    """Compares our scores of some methods with the paper's.

    Args:
        paper: The paper's score of each method.
        means: Our mean over seeds, of the same methods.
        deviations: Our standard deviation over seeds.

    Returns:
        `kendall` and `spearman`, the rank correlations, and `pairs`: for each two
        methods, the one that the paper puts first as `better`, our difference, the
        deviation of such a difference between single runs, whether ours has the
        paper's sign (`agrees`), and whether it `exceeds_spread`.
    """
    names = list(paper)
    pairs = []
    for pair in itertools.combinations(names, 2):
        worse, better = sorted(pair, key=lambda name: paper[name])
        difference = means[better] - means[worse]
        spread = math.hypot(deviations[better], deviations[worse])
        pairs.append(
            {
                "better": better,
                "worse": worse,
                "paper_difference": paper[better] - paper[worse],
                "difference": difference,
                "spread": spread,
                "agrees": difference > 0,
                "exceeds_spread": abs(difference) > spread,
            }
        )
    theirs, ours = [paper[n] for n in names], [means[n] for n in names]
    return {
        "kendall": kendall(theirs, ours),
        "spearman": spearman(theirs, ours),
        "pairs": pairs,
    }


def kendall(first: Sequence[float], second: Sequence[float]) -> float:
    """Returns Kendall's tau-b: pairs in the same order less those in the other.

    Ties are left out of the count of pairs; NaN if all of a side are tied.
    """
    a, b = (np.sign(np.subtract.outer(side, side)) for side in (first, second))
    return _cosine(a, b)


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Returns Spearman's rho: the correlation of ranks, equal values sharing theirs.

    NaN if all of a side are tied.
    """
    ranks = [_ranks(side) for side in (first, second)]
    return _cosine(*(rank - rank.mean() for rank in ranks))


def _ranks(values: Sequence[float]) -> np.ndarray:
    return np.sign(np.subtract.outer(values, values)).sum(axis=1)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    norm = math.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / norm) if norm else math.nan
