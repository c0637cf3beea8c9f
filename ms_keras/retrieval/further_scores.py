"""Scores beside Recall@K, and how sure each score is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np

from ms_keras.retrieval.bootstrap import (
    Interval,
    bootstrap_interval,
    bootstrap_interval_of,
)
from ms_keras.retrieval.clustering import agreement, clustering_scores
from ms_keras.retrieval.ranking import ranking_scores
from ms_keras.retrieval.saved_arrays import SavedArrays

KINDS = ("ranking", "clustering")
# Adjusting for chance looks at each pair of class and cluster, for each resample.
_MOST_CLASSES = 500
_RESAMPLES = 100


@dataclasses.dataclass
class FurtherScores:
    """Scores by name, as in a report.

    Attributes:
        metrics: The scores; NaN where one says nothing.
        intervals: The 95 % interval of each score that has one.
    """

    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    intervals: dict[str, Interval] = dataclasses.field(default_factory=dict)


def further_scores(arrays: SavedArrays, kinds: Iterable[str]) -> FurtherScores:
    """Returns other scores of embeddings than Recall@K.

    Args:
        arrays: The embeddings with their labels.
        kinds: Which: `"ranking"` for precision at 1, R-precision and MAP@R, exact;
            `"clustering"` for NMI and AMI by k-means, whose intervals are told for up
            to 500 classes.

    Raises:
        ValueError: If a kind is unknown; others as of `recall_at_k`.
    """
    found = FurtherScores()
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"Metrics must be among {', '.join(KINDS)}; got {kind!r}.")
        {"ranking": _add_ranking, "clustering": _add_clustering}[kind](found, arrays)
    return found


def recall_intervals(
    ranks: np.ndarray, labels: np.ndarray, ks: Sequence[int]
) -> dict[int, Interval]:
    """Returns the 95 % interval of Recall@K, by drawing classes anew.

    Args:
        ranks: `[queries]` of `best_positive_ranks`.
        labels: `[queries]` class ids or names.
        ks: The K.
    """
    return {
        k: bootstrap_interval(np.where(ranks > 0, ranks <= k, np.nan), labels)
        for k in ks
    }


def interval_as_json(interval: Interval) -> list[float] | None:
    """Returns both bounds, or `None` where there is no interval."""
    return None if math.isnan(interval.low) else [interval.low, interval.high]


def _add_ranking(found: FurtherScores, arrays: SavedArrays) -> None:
    for name, values in ranking_scores(*arrays).items():
        found.metrics[name] = float(np.nanmean(values))
        found.intervals[name] = bootstrap_interval(values, arrays.labels)


def _add_clustering(found: FurtherScores, arrays: SavedArrays) -> None:
    rows, labels = arrays.embeddings, np.asarray(arrays.labels)
    if arrays.gallery is not None:
        rows = np.concatenate([rows, arrays.gallery])
        labels = np.concatenate([labels, arrays.gallery_labels])
    clusters = clustering_scores(rows, labels)
    for name in ("nmi", "ami"):
        found.metrics[name] = getattr(clusters, name)
        if clusters.num_clusters > _MOST_CLASSES:
            continue

        def score(images: np.ndarray, name: str = name) -> float:
            some = agreement(labels[images], clusters.assignment[images])
            return getattr(some, name)

        found.intervals[name] = bootstrap_interval_of(score, labels, _RESAMPLES)
