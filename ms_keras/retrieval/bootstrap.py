"""Confidence intervals of scores, by drawing classes anew.

Images of one class are found or missed together, and a test set has few classes. What
would change with another test set is its classes: they are drawn with replacement, each
with all its images. Drawing single queries gives intervals that are too narrow.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import NamedTuple

import numpy as np

from ms_keras.retrieval.inputs import blocks, class_ids

_TAILS = 0.025, 0.975
_BLOCK_ENTRIES = 1 << 19  # of draws held at a time: 4 MB, and twice that of sums


class Interval(NamedTuple):
    """The bounds of a 95 % interval; both NaN where it cannot be told."""

    low: float
    high: float


def bootstrap_interval(
    values: np.ndarray, classes: np.ndarray, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Returns the 95 % percentile interval of the mean of per-query values.

    Args:
        values: `[queries]` numbers, one score per query; NaN for a query left out.
        classes: `[queries]` integer class ids, or names.
        resamples: How many test sets are drawn. Defaults to 1000.
        seed: Of the draws. Defaults to 0.

    Returns:
        The interval; NaN if all values are of one class, which says nothing about
        another.

    Raises:
        ValueError: If shapes do not fit, a value is infinite, all are NaN, or
            `resamples` is below 1.

    Example:
    ```python
    ranks = best_positive_ranks(embeddings, labels)
    hits = np.where(ranks > 0, ranks <= 1, np.nan)
    low, high = bootstrap_interval(hits, labels)  # of Recall@1
    ```
    """
    _check_resamples(resamples)
    values, ids = _told(values, classes)
    counts = np.bincount(ids)
    sums = np.bincount(ids, weights=values)[counts > 0]
    counts = counts[counts > 0]
    if len(counts) == 1:
        return Interval(float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    for block in blocks(resamples, len(counts), _BLOCK_ENTRIES):
        size = block.stop - block.start, len(counts)
        drawn = rng.integers(len(counts), size=size)
        means[block] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return _percentiles(means)


def bootstrap_interval_of(
    statistic: Callable[[np.ndarray], float],
    classes: np.ndarray,
    resamples: int = 200,
    seed: int = 0,
) -> Interval:
    """Returns a 95 % interval of a score that is no mean over images, such as NMI.

    A class drawn twice has its images twice, under one label. NMI and AMI are higher in
    such test sets, since fewer classes share the clusters. This has nothing to do with
    their spread: the percentiles are shifted by as much as the mean over the test sets
    lies off the score of all images.

    Args:
        statistic: Takes `[m]` int64 indices of images, repeated as drawn, and returns
            the score of these; NaN for a test set to leave out.
        classes: `[images]` integer class ids, or names.
        resamples: How many test sets are drawn. Defaults to 200.
        seed: Of the draws. Defaults to 0.

    Returns:
        The interval; NaN if there is one class, or no test set with a score.

    Raises:
        ValueError: If `classes` is empty or of a wrong shape, or `resamples` is below
            1.

    Example:
    ```python
    found = clustering_scores(embeddings, labels)
    bootstrap_interval_of(
        lambda images: agreement(labels[images], found.assignment[images]).nmi, labels
    )
    ```
    """
    _check_resamples(resamples)
    ids, _ = class_ids(classes)
    if not len(ids):
        raise ValueError("classes must be [images], 1 or more; got none.")
    members = np.split(np.argsort(ids, kind="stable"), np.cumsum(np.bincount(ids))[:-1])
    rng = np.random.default_rng(seed)
    scores = np.full(resamples, np.nan)
    for i in range(resamples if len(members) > 1 else 0):
        drawn = rng.integers(len(members), size=len(members))
        scores[i] = statistic(np.concatenate([members[c] for c in drawn]))
    scores = scores[~np.isnan(scores)]
    if not len(scores):
        return Interval(float("nan"), float("nan"))
    shift = statistic(np.arange(len(ids))) - scores.mean()
    return _percentiles(scores, shift)


def _told(values: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns values that are not NaN, as float64, and the ids of their classes."""
    values = np.asarray(values, np.float64)
    ids, _ = class_ids(classes)
    if values.shape != ids.shape:
        raise ValueError(
            "values and classes must be [queries] both; got shapes "
            f"{values.shape} and {ids.shape}."
        )
    if np.isinf(values).any():
        raise ValueError("values must be finite, or NaN to leave a query out; got inf.")
    told = ~np.isnan(values)
    if not told.any():
        raise ValueError(
            f"None of the {len(values)} queries has a value; without one there is no "
            "mean."
        )
    return values[told], ids[told]


def _percentiles(scores: np.ndarray, shift: float = 0.0) -> Interval:
    return Interval(*(float(np.quantile(scores, tail)) + shift for tail in _TAILS))


def _check_resamples(resamples: int) -> None:
    if not isinstance(resamples, Integral) or resamples < 1:
        raise ValueError(
            f"resamples must be a whole number, 1 or more; got {resamples}."
        )
