"""What the contenders do; runs in their own processes and environments.

Nothing but NumPy is imported above: each environment has one of the libraries.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

NOT_FOUND = np.iinfo(np.int64).max  # the rank of a positive that is not in the list
_ROWS, _COLUMNS = 2048, 8192  # of a tile of the bare matmul: 64 MB
_TOP_K_ROWS = 1024  # compared at a time with the whole gallery
_BLOCK_ENTRIES = 1 << 18  # of lists of neighbours, read at a time: hardly any memory


class Found(NamedTuple):
    """What a contender found, and how long it took.

    Attributes:
        seconds: Of the parts of its work: `"search"`, and `"build"` if it has one.
        ranks: `[queries]` int64, the place of the first positive among the neighbours;
            `NOT_FOUND` behind the list. `None` if it looks for nothing.
        settings: What it chose for itself. Defaults to `None`.
    """

    seconds: dict[str, float]
    ranks: np.ndarray | None
    settings: dict[str, Any] | None = None


def floor(rows: np.ndarray, labels: np.ndarray) -> Found:
    """Multiplies all tiles of the square, and throws the products away."""
    memory: np.ndarray = np.empty(_ROWS * _COLUMNS, np.float32)
    begin = time.perf_counter()
    for top in range(0, len(rows), _ROWS):
        some = rows[top : top + _ROWS]
        for left in range(0, len(rows), _COLUMNS):
            others = rows[left : left + _COLUMNS]
            shape = len(some), len(others)
            np.matmul(some, others.T, out=memory[: shape[0] * shape[1]].reshape(shape))
    return Found({"search": time.perf_counter() - begin}, None)


def ours(rows: np.ndarray, labels: np.ndarray, ks: Sequence[int]) -> Found:
    """Computes Recall@K for all K from the ranks of the best positives."""
    from ms_keras.retrieval.recall import best_positive_ranks, recall_of_ranks

    begin = time.perf_counter()
    ranks = best_positive_ranks(rows, labels)
    recall_of_ranks(ranks, ks)
    return Found({"search": time.perf_counter() - begin}, ranks)


def faiss(rows: np.ndarray, labels: np.ndarray, k: int) -> Found:
    """Lists neighbours with faiss's flat index."""
    import faiss as library

    begin = time.perf_counter()
    index = library.IndexFlatIP(rows.shape[1])
    index.add(rows)
    built = time.perf_counter()
    _, indices = index.search(rows, min(k, len(rows)))
    seconds = _parts(begin, built, time.perf_counter())
    return Found(seconds, first_positives(indices, labels))


def sklearn(rows: np.ndarray, labels: np.ndarray, k: int) -> Found:
    """Lists neighbours with scikit-learn's brute force.

    By Euclidean distance, which orders unit rows as the cosine does and which it is
    faster at.
    """
    from sklearn.neighbors import NearestNeighbors

    begin = time.perf_counter()
    search = NearestNeighbors(
        n_neighbors=min(k, len(rows)),
        algorithm="brute",
        metric="euclidean",
        n_jobs=-1,
    ).fit(rows)
    built = time.perf_counter()
    indices = search.kneighbors(rows, return_distance=False)
    seconds = _parts(begin, built, time.perf_counter())
    return Found(seconds, first_positives(indices, labels))


def topk(rows: np.ndarray, labels: np.ndarray, k: int) -> Found:
    """Lists neighbours with a matmul and `top_k`, some queries at a time."""
    import tensorflow as tf

    count = min(k, len(rows))
    begin = time.perf_counter()
    indices: np.ndarray = np.empty((len(rows), count), np.int32)
    gallery = tf.constant(rows)
    for top in range(0, len(rows), _TOP_K_ROWS):
        some = slice(top, top + _TOP_K_ROWS)
        similarities = tf.matmul(rows[some], gallery, transpose_b=True)
        indices[some] = tf.math.top_k(similarities, count).indices
    seconds = {"search": time.perf_counter() - begin}
    return Found(seconds, first_positives(indices, labels))


def scann(rows: np.ndarray, labels: np.ndarray, k: int, share: float | None) -> Found:
    """Lists neighbours with ScaNN, through our searcher.

    With a share, rows are put into about as many leaves as these have rows, and that
    share of the leaves is searched; without, the searcher chooses its settings.
    """
    from ms_keras.retrieval.scann_search import ScannSearcher
    from ms_keras.retrieval.scann_settings import choose_settings

    count, dim = rows.shape
    settings = choose_settings(count, dim, k)
    if share is not None:
        leaves = max(2, round(math.sqrt(count)))
        searched = math.ceil(share * leaves)
        settings = dataclasses.replace(
            settings, leaves=leaves, leaves_to_search=searched
        )
    begin = time.perf_counter()
    searcher = ScannSearcher(settings).index(rows)
    built = time.perf_counter()
    found = searcher.search(rows, k, exclude=np.arange(count))
    seconds = _parts(begin, built, time.perf_counter())
    ranks = first_positives(found.indices, labels)
    return Found(seconds, ranks, searcher.settings.as_json())


WORKS: dict[str, Callable[..., Found]] = {
    work.__name__: work for work in (floor, ours, faiss, sklearn, topk, scann)
}


def first_positives(indices: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns ranks from lists of neighbours, in which a query itself does not count.

    No library's time is charged for it.

    Args:
        indices: `[queries, k]` gallery indices, nearest first; -1 for nobody.
        labels: `[queries]` class ids; queries are the gallery.

    Returns:
        `[queries]` int64, 1 or more; `NOT_FOUND` where no positive is listed.
    """
    ranks: np.ndarray = np.empty(len(indices), np.int64)
    size = max(1, _BLOCK_ENTRIES // indices.shape[1])
    for begin in range(0, len(indices), size):
        block = indices[begin : begin + size]
        queries = np.arange(begin, begin + len(block))[:, np.newaxis]
        itself = block == queries
        positive = (labels[block] == labels[queries]) & ~itself & (block >= 0)
        first = positive.argmax(axis=1)
        before = np.arange(block.shape[1]) < first[:, np.newaxis]
        places = 1 + first - (itself & before).any(axis=1)
        ranks[begin : begin + size] = np.where(positive.any(axis=1), places, NOT_FOUND)
    return ranks


def _parts(begin: float, built: float, end: float) -> dict[str, float]:
    return {"build": built - begin, "search": end - built}
