"""The rank of each query's best positive, without lists of neighbours.

The best positive of a query is found among the few images of its own class. What is
then left to do for a query is to count the references that are at least as similar: a
matmul whose entries are compared once and forgotten. Queries that are their own gallery
need only half of it, since each entry tells about its row and about its column.
"""

from __future__ import annotations

import concurrent.futures
import os
import sys
import threading
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import threadpoolctl
import tqdm

from ms_keras.retrieval.inputs import blocks

# Similarities this close are ties, and ties count against the query. Matmuls of equal
# rows were seen to differ by up to 4 units of the last place of 1 (OpenBLAS, 512 to
# 1,024 entries) because they split sums by the row's place.
TIE = 8 * float(np.finfo(np.float32).eps)
_ROWS, _COLUMNS = 1024, 4096  # of a tile of similarities: 16 MB
_GROUP = 64  # rows compared at a time: they stay in a core's cache, and fit a uint8
_THREADS = min(64, os.cpu_count() or 1)  # each with a tile of its own
_BLOCK_ENTRIES = 1 << 25  # of other arrays held at a time: 128 MB


class _OwnClass(NamedTuple):
    """What the images of a query's own class say about it.

    Attributes:
        thresholds: `[queries]` float32; a negative at least as similar is ahead of the
            best positive. Infinite without a positive.
        counted: `[queries]` int64 references of the query's own class, itself among
            them, that reach the threshold.
        unsure: `[queries]` bool, where one of them reaches it by so little that another
            matmul might say otherwise.
    """

    thresholds: np.ndarray
    counted: np.ndarray
    unsure: np.ndarray


def ranks_of_best_positives(
    queries: np.ndarray,
    ids: np.ndarray,
    references: np.ndarray | None = None,
    reference_ids: np.ndarray | None = None,
) -> np.ndarray:
    """Returns at which place of its neighbours each query finds its first positive.

    Args:
        queries: `[queries, dim]` float32 rows of norm 1.
        ids: `[queries]` int32 class ids.
        references: `[gallery, dim]` float32 rows of norm 1. Defaults to `None`: each
            query is searched among the others.
        reference_ids: `[gallery]` int32 class ids. Defaults to `None`.

    Returns:
        `[queries]` int64: 1 plus the negatives at least as similar as the best
        positive; 0 for a query without a positive.
    """
    alone = references is None
    gallery = queries if references is None else references
    gallery_ids = ids if reference_ids is None else reference_ids
    own = _own_classes(queries, ids, gallery, gallery_ids, alone)
    reached = _count_reached(queries, own.thresholds, references)
    ranks = 1 + reached - own.counted
    unsure = np.flatnonzero(own.unsure)
    for block in blocks(len(unsure), len(gallery), _BLOCK_ENTRIES):
        some = unsure[block]
        itself = some if alone else None
        similarities = queries[some] @ gallery.T
        same = ids[some, np.newaxis] == gallery_ids
        ranks[some] = _ranks_of_rows(similarities, same, itself)
    ranks[np.isinf(own.thresholds)] = 0
    return ranks


def _own_classes(
    queries: np.ndarray,
    ids: np.ndarray,
    references: np.ndarray,
    reference_ids: np.ndarray,
    alone: bool,
) -> _OwnClass:
    """Compares each query with the references of its class."""
    found = _OwnClass(
        np.full(len(ids), np.inf, np.float32),
        np.zeros(len(ids), np.int64),
        np.zeros(len(ids), bool),
    )
    for members, candidates in _classes(ids, reference_ids):
        rows = references[candidates]
        for block in blocks(len(members), len(candidates), _BLOCK_ENTRIES):
            some = members[block]
            similarities = queries[some] @ rows.T
            positives = similarities
            if alone:
                positives = np.where(
                    some[:, np.newaxis] == candidates, -np.inf, similarities
                )
            best = positives.max(axis=1)
            thresholds = np.where(np.isinf(best), np.inf, best - np.float32(TIE))
            beyond = similarities - thresholds[:, np.newaxis]
            found.thresholds[some] = thresholds
            found.counted[some] = np.count_nonzero(beyond >= 0, axis=1)
            found.unsure[some] = (np.abs(beyond) < TIE / 2).any(axis=1)
    return found


def _classes(
    ids: np.ndarray, reference_ids: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the indices of queries and references of each class that has both."""
    order = np.argsort(ids, kind="stable")
    reference_order = np.argsort(reference_ids, kind="stable")
    classes, starts = np.unique(ids[order], return_index=True)
    ends: np.ndarray = np.append(starts[1:], len(order))
    sorted_ids = reference_ids[reference_order]
    bounds = np.stack(
        [
            starts,
            ends,
            np.searchsorted(sorted_ids, classes, "left"),
            np.searchsorted(sorted_ids, classes, "right"),
        ],
        axis=1,
    )
    for start, end, low, high in bounds.tolist():
        if low < high:
            yield order[start:end], reference_order[low:high]


def _count_reached(
    queries: np.ndarray, thresholds: np.ndarray, references: np.ndarray | None
) -> np.ndarray:
    """Returns `[queries]` int64: how many references reach a query's threshold."""
    counts: np.ndarray = np.zeros(len(queries), np.int64)
    memory = threading.local()

    def strip(start: int) -> tuple[int, np.ndarray, np.ndarray]:
        if not hasattr(memory, "tile"):
            memory.tile = np.empty(_ROWS * _COLUMNS, np.float32)
        if references is None:
            return start, *_own_strip(queries, thresholds, start, memory.tile)
        rows = slice(start, start + _ROWS)
        within = thresholds[rows]
        reached: np.ndarray = np.zeros(len(within), np.int64)
        for begin in range(0, len(references), _COLUMNS):
            columns = references[begin : begin + _COLUMNS]
            tile = _similarities(queries[rows], columns, memory.tile)
            reached += _reached(tile, within)[0]
        return start, reached, reached[:0]

    starts = range(0, len(queries), _ROWS)
    with (
        # Matmuls of several threads that each want all cores wait for one another.
        threadpoolctl.threadpool_limits(1, user_api="blas"),
        concurrent.futures.ThreadPoolExecutor(_THREADS) as pool,
        tqdm.tqdm(
            total=len(queries),
            desc="compare",
            unit="query",
            delay=2,
            leave=False,
            mininterval=0.5 if sys.stderr.isatty() else 10,
        ) as bar,
    ):
        for start, rows, columns in pool.map(strip, starts):
            counts[start : start + len(rows)] += rows
            counts[start + len(rows) :][: len(columns)] += columns
            bar.update(len(rows))
    return counts


def _own_strip(
    queries: np.ndarray, thresholds: np.ndarray, start: int, memory: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compares rows with themselves and all behind them.

    Returns:
        What reaches their thresholds, `[rows]`, and what of them reaches those of the
        rows behind, `[n - start - rows]`; both int64.
    """
    rows = queries[start : start + _ROWS]
    within = thresholds[start : start + _ROWS]
    behind = thresholds[start + len(rows) :]
    itself = _similarities(rows, rows, memory)
    counts = _reached(itself, within)[0]
    counts_behind: np.ndarray = np.empty(len(behind), np.int64)
    for begin in range(0, len(behind), _COLUMNS):
        some = slice(begin, min(begin + _COLUMNS, len(behind)))
        columns = queries[start + len(rows) :][some]
        tile = _similarities(rows, columns, memory)
        reached, counts_behind[some] = _reached(tile, within, behind[some])
        counts += reached
    return counts, counts_behind


def _similarities(
    rows: np.ndarray, columns: np.ndarray, memory: np.ndarray
) -> np.ndarray:
    shape = len(rows), len(columns)
    tile = memory[: shape[0] * shape[1]].reshape(shape)
    return np.matmul(rows, columns.T, out=tile)


def _reached(
    tile: np.ndarray, rows: np.ndarray, columns: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Counts the entries of a tile that reach the thresholds of rows and of columns."""
    row_counts: np.ndarray = np.zeros(len(tile), np.int64)
    column_counts: np.ndarray = np.zeros(tile.shape[1], np.int64)
    reached = np.empty((_GROUP, tile.shape[1]), bool)
    for begin in range(0, len(tile), _GROUP):
        group = tile[begin : begin + _GROUP]
        mask = reached[: len(group)]
        np.greater_equal(group, rows[begin : begin + _GROUP, np.newaxis], out=mask)
        # Several times faster than count_nonzero with an axis.
        row_counts[begin : begin + _GROUP] = [np.count_nonzero(row) for row in mask]
        if columns is not None:
            np.greater_equal(group, columns, out=mask)
            column_counts += np.add.reduce(mask.view(np.uint8), axis=0, dtype=np.uint8)
    return row_counts, column_counts


def _ranks_of_rows(
    similarities: np.ndarray, same: np.ndarray, itself: np.ndarray | None
) -> np.ndarray:
    """Returns ranks from whole rows of similarities, each compared within itself."""
    positives = np.where(same, similarities, -np.inf)
    if itself is not None:
        positives[np.arange(len(itself)), itself] = -np.inf
    best = positives.max(axis=1, keepdims=True)
    ahead = ~same & (similarities >= best - np.float32(TIE))
    return 1 + np.count_nonzero(ahead, axis=1)
