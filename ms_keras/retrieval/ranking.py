"""Exact precision at 1, R-precision and MAP@R of each query.

They are those of Musgrave, Belongie and Lim, "A Metric Learning Reality Check" (2020),
https://arxiv.org/abs/2003.08505. Where Recall@K asks whether one positive is near, the
last two ask whether all of them are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from ms_keras.retrieval.inputs import blocks
from ms_keras.retrieval.ranks import TIE
from ms_keras.retrieval.task import Task, as_task, check_answerable

_NAMES = "precision_at_1", "r_precision", "map_at_r"
_BLOCK_ENTRIES = 1 << 24  # of 4 bytes, held at a time: 64 MB
_ENTRIES_PER_NEIGHBOUR = 14  # of arrays as wide as the window, beside similarities
_MARGIN = 32  # neighbours beyond R: a window that ends within a tie is done again
# TensorFlow multiplies float32 on recent GPUs with 10 bits of mantissa.
_DEVICE = "CPU:0"


def ranking_scores(
    embeddings: np.ndarray,
    labels: np.ndarray,
    gallery: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Returns how each query's neighbours are ranked, by three measures.

    Similarity is the cosine. A query is left out of its own neighbours by its index.
    With R, the number of other images of the query's class, and the place of its i-th
    best positive, i plus the negatives at least as similar:

    - `precision_at_1`: 1 if the first positive is at place 1, else 0. Its mean is
      Recall@1.
    - `r_precision`: the share of positives among the R nearest: those at a place of at
      most R, divided by R.
    - `map_at_r`: 1/R times the sum over these of i / place, the precision where each of
      them stands. It is 1 if the R nearest are all positives, and counts an early
      positive more than a late one.

    Negatives as similar as a positive, up to rounding, stand before it at every place:
    a tower that maps everything to one point does not score.

    Args:
        embeddings: `[queries, dim]` numbers of any precision.
        labels: `[queries]` integer class ids, or names.
        gallery: `[gallery, dim]` numbers to search in. Defaults to `None`: each query
            is searched among the other queries.
        gallery_labels: `[gallery]` class ids or names. Defaults to `None`.

    Returns:
        `{"precision_at_1": ..., "r_precision": ..., "map_at_r": ...}`, each `[queries]`
        float64 in [0, 1]; NaN for a query without a positive.

    Raises:
        ValueError: If an array is empty, has NaN or infinite entries or a shape that
            does not fit, only one of the gallery arguments is given, or no query has a
            positive.
    """
    task = as_task(embeddings, labels, gallery, gallery_labels)
    positives = task.positives()
    check_answerable(positives)
    scores = np.full((len(_NAMES), len(positives)), np.nan)
    with tf.device(_DEVICE):
        references = tf.constant(task.gallery)
        for rows, window in _tiers(positives, len(references)):
            while len(rows):  # until each window holds all that ties reach
                rows = _score(scores, task, references, positives, rows, window)
                window = min(4 * window, len(references))
    return dict(zip(_NAMES, scores, strict=True))


def _tiers(positives: np.ndarray, gallery: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yields queries and how many neighbours to fetch for them.

    Queries of one tier have numbers of positives within a factor of 2, so that a large
    class does not make windows wide for the queries of small ones.
    """
    tiers = np.frexp(positives)[1]
    for tier in np.unique(tiers[positives > 0]):
        rows = np.flatnonzero((tiers == tier) & (positives > 0))
        # One more, as the query itself is fetched too.
        yield rows, min(gallery, int(positives[rows].max()) + 1 + _MARGIN)


def _score(
    scores: np.ndarray,
    task: Task,
    references: tf.Tensor,
    positives: np.ndarray,
    rows: np.ndarray,
    window: int,
) -> np.ndarray:
    """Writes the scores of some queries; returns those to do again, more widely."""
    width = len(references) + _ENTRIES_PER_NEIGHBOUR * window
    again = []
    for block in blocks(len(rows), width, _BLOCK_ENTRIES):
        some = rows[block]
        found = _in_window(task, references, some, positives[some], window)
        scores[:, some], unsure = found
        again.append(some[unsure])
    return np.concatenate(again)


def _in_window(
    task: Task,
    references: tf.Tensor,
    rows: np.ndarray,
    positives: np.ndarray,
    window: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores `[3, rows]`, and `[rows]` whether ties go beyond the window.

    A window wider than R holds every positive that can be at a place of at most R: one
    behind the window has as many neighbours before it.
    """
    similarities = tf.matmul(task.queries[rows], references, transpose_b=True)
    values, found = tf.math.top_k(similarities, window)
    del similarities  # the largest array here
    # How many neighbours are as similar as each of them or more.
    reach = tf.searchsorted(-values, TIE - values, side="right").numpy()
    found = found.numpy()
    same = task.gallery_ids[found] == task.ids[rows, np.newaxis]
    # The query itself is no positive, and being of its class no negative either.
    positive = same & (found != task.own()[rows, np.newaxis])
    number = np.cumsum(positive, axis=1, dtype=np.int32)
    negatives = np.cumsum(~same, axis=1, dtype=np.int32)
    place = number + np.take_along_axis(negatives, reach - 1, axis=1)
    within = positive & (place <= positives[:, np.newaxis])
    precision = np.divide(number, place, out=np.zeros(place.shape), where=within)
    scores = np.stack(
        [
            np.any(within & (place == 1), axis=1),
            within.sum(axis=1) / positives,
            precision.sum(axis=1) / positives,
        ]
    )
    beyond = (reach == window) & (window < len(task.gallery))
    return scores, np.any(within & beyond, axis=1)
