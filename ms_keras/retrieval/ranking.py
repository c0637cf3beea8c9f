"""Exact precision at 1, R-precision and MAP@R of each query.

They are those of Musgrave, Belongie and Lim, "A Metric Learning Reality Check" (2020),
https://arxiv.org/abs/2003.08505. Where Recall@K asks whether one positive is near, the
last two ask whether all of them are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ms_keras.retrieval.inputs import (
    blocks,
    check_count,
    check_dims,
    class_ids,
    unit_rows,
)
from ms_keras.retrieval.ranks import TIE

_NAMES = "precision_at_1", "r_precision", "map_at_r"
_BLOCK_ENTRIES = 1 << 24  # of 4 bytes, held at a time: 64 MB
_ENTRIES_PER_NEIGHBOUR = 14  # of arrays as wide as the window, beside similarities
_MARGIN = 32  # neighbours beyond R: a window that ends within a tie is done again
# TensorFlow multiplies float32 on recent GPUs with 10 bits of mantissa.
_DEVICE = "CPU:0"


class Sides(NamedTuple):
    """Queries and what they are searched in, checked.

    Attributes:
        queries: `[queries, dim]` float32 of norm 1.
        ids: `[queries]` int32 class ids.
        references: `[references, dim]` float32 of norm 1: the gallery, or the queries.
        reference_ids: `[references]` int32, of the same classes.
        own: `[queries]` int32, the reference that is the query itself, or -1.
    """

    queries: np.ndarray
    ids: np.ndarray
    references: np.ndarray
    reference_ids: np.ndarray
    own: np.ndarray

    def num_positives(self) -> np.ndarray:
        """Returns `[queries]` int64: R, the other images of a query's class.

        Raises:
            ValueError: If no query has any.
        """
        counts = np.bincount(self.reference_ids, minlength=self.ids.max() + 1)
        positives = counts[self.ids] - (self.own >= 0)
        check_answerable(positives)
        return positives


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
    sides = checked_sides(embeddings, labels, gallery, gallery_labels)
    positives = sides.num_positives()
    scores = np.full((len(_NAMES), len(positives)), np.nan)
    with tf.device(_DEVICE):
        references = tf.constant(sides.references)
        for rows, window in _tiers(positives, len(references)):
            while len(rows):  # until each window holds all that ties reach
                rows = _score(scores, sides, references, positives, rows, window)
                window = min(4 * window, len(references))
    return dict(zip(_NAMES, scores, strict=True))


def checked_sides(
    embeddings: np.ndarray,
    labels: np.ndarray,
    gallery: np.ndarray | None,
    gallery_labels: np.ndarray | None,
) -> Sides:
    """Returns what is searched in what; arguments and errors as `ranking_scores`."""
    if (gallery is None) != (gallery_labels is None):
        missing = "gallery" if gallery is None else "gallery_labels"
        raise ValueError(f"gallery and gallery_labels go together; got {missing}=None.")
    queries = unit_rows(embeddings, "embeddings")
    ids, reference_ids = class_ids(labels, gallery_labels)
    check_count(queries, ids, "embeddings")
    if gallery is None:
        return Sides(queries, ids, queries, ids, np.arange(len(ids), dtype=np.int32))
    references = unit_rows(gallery, "gallery")
    check_dims(queries, references, "embeddings")
    check_count(references, reference_ids, "gallery")
    own: np.ndarray = np.full(len(ids), -1, np.int32)
    return Sides(queries, ids, references, reference_ids, own)


def check_answerable(positives: np.ndarray) -> None:
    """Raises ValueError unless a query has a positive, given how many each has."""
    if not np.any(positives > 0):
        raise ValueError(
            f"None of the {len(positives)} queries has another image of its class to "
            "find. Retrieval needs classes with two images, or with one in the gallery."
        )


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
    sides: Sides,
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
        found = _in_window(sides, references, some, positives[some], window)
        scores[:, some], unsure = found
        again.append(some[unsure])
    return np.concatenate(again)


def _in_window(
    sides: Sides,
    references: tf.Tensor,
    rows: np.ndarray,
    positives: np.ndarray,
    window: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores `[3, rows]`, and `[rows]` whether ties go beyond the window.

    A window wider than R holds every positive that can be at a place of at most R: one
    behind the window has as many neighbours before it.
    """
    similarities = tf.matmul(sides.queries[rows], references, transpose_b=True)
    values, found = tf.math.top_k(similarities, window)
    del similarities  # the largest array here
    # How many neighbours are as similar as each of them or more.
    reach = tf.searchsorted(-values, TIE - values, side="right").numpy()
    found = found.numpy()
    same = sides.reference_ids[found] == sides.ids[rows, np.newaxis]
    # The query itself is no positive, and being of its class no negative either.
    positive = same & (found != sides.own[rows, np.newaxis])
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
    beyond = (reach == window) & (window < len(sides.references))
    return scores, np.any(within & beyond, axis=1)
