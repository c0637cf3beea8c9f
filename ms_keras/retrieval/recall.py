"""Exact Recall@K from the rank of each query's best positive.

A query is answered at K if its best positive is among the K nearest, so one rank per
query tells Recall@K for every K: no list of neighbours is needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from ms_keras.retrieval.inputs import check_ks
from ms_keras.retrieval.ranks import ranks_of_best_positives
from ms_keras.retrieval.task import as_task, check_answerable


def recall_at_k(
    embeddings: np.ndarray,
    labels: np.ndarray,
    ks: Sequence[int] = (1, 2, 4, 8),
    gallery: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
) -> dict[int, float]:
    """Returns the share of queries with a positive among their K nearest neighbours.

    Similarity is the cosine. A query is left out of its own neighbours by its index;
    equal similarities count against the query, so that a tower that maps everything to
    one point does not score 1. Queries that have no positive at all are left out, with
    a warning that says how many.

    Args:
        embeddings: `[queries, dim]` numbers of any precision.
        labels: `[queries]` integer class ids, or names.
        ks: The K to report. Defaults to `(1, 2, 4, 8)`.
        gallery: `[gallery, dim]` numbers to search in. Defaults to `None`: each query
            is searched among the other queries.
        gallery_labels: `[gallery]` class ids or names. Defaults to `None`.

    Returns:
        `{k: recall}`.

    Raises:
        ValueError: If an array is empty, has NaN or infinite entries or a shape that
            does not fit, only one of the gallery arguments is given, a K is below 1, or
            no query has a positive.
    """
    check_ks(ks)
    ranks = best_positive_ranks(embeddings, labels, gallery, gallery_labels)
    recall = recall_of_ranks(ranks, ks)
    alone = int(np.sum(ranks == 0))
    if alone:
        warnings.warn(
            f"{alone} of {len(ranks)} queries have no positive to find; Recall@K "
            "leaves them out.",
            stacklevel=2,
        )
    return recall


def recall_of_ranks(ranks: np.ndarray, ks: Sequence[int]) -> dict[int, float]:
    """Returns Recall@K, given the ranks of `best_positive_ranks`.

    Raises:
        ValueError: If a K is below 1, or no query has a positive.
    """
    check_ks(ks)
    check_answerable(ranks)
    answerable = ranks[ranks > 0]
    return {int(k): float(np.mean(answerable <= k)) for k in ks}


def best_positive_ranks(
    embeddings: np.ndarray,
    labels: np.ndarray,
    gallery: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
) -> np.ndarray:
    """Returns at which place of its neighbours each query finds its first positive.

    Arguments and errors are those of `recall_at_k`.

    Returns:
        `[queries]` int64: 1 plus the negatives at least as similar as the best
        positive; 0 for a query without a positive.
    """
    task = as_task(embeddings, labels, gallery, gallery_labels)
    if task.is_self:
        return ranks_of_best_positives(task.queries, task.ids)
    return ranks_of_best_positives(
        task.queries, task.ids, task.gallery, task.gallery_ids
    )
