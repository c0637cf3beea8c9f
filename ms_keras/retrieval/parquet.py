"""Embeddings in Parquet files, read some rows at a time. Needs pyarrow."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ms_keras.retrieval.mapped_arrays import array_on_disk
from ms_keras.retrieval.parquet_columns import (
    EMBEDDING,
    GALLERY,
    LABEL,
    QUERY,
    SPLIT,
    Kind,
    check_nulls,
    check_split,
    embeddings,
    kind_of,
    list_lengths,
    values,
)

_BLOCK_ENTRIES = 1 << 19  # of embeddings decoded at a time
_LABELS = 1 << 16  # read at a time: strings pass through Python objects


class _Part(NamedTuple):
    """A file, with everything of it but its embeddings."""

    path: pathlib.Path
    kind: Kind
    labels: np.ndarray
    is_query: np.ndarray


def read_parquet(paths: Sequence[pathlib.Path]) -> list[np.ndarray]:
    """Reads embeddings and labels from files, as from one table.

    Args:
        paths: Files with the columns `embedding`, lists of floating-point numbers of
            one length; `label`, integers or strings; and, if there is a gallery,
            `split`, "query" or "gallery". Other columns are left alone.

    Returns:
        `[queries, dim]` embeddings of the files' precision, mapped from an unnamed file
        in the temporary folder, and `[queries]` labels; if there is a gallery, also its
        `[gallery, dim]` embeddings and `[gallery]` labels.

    Raises:
        ValueError: If a file is damaged, a column is missing, of another type, has
            nulls or lists of several lengths, files do not fit each other, there is no
            row, or only queries or only a gallery; or if the temporary folder has no
            room.
    """
    parts = [part for part in map(_part, paths) if part is not None]
    if not parts:
        raise ValueError(f"{paths[0]} has no rows, nor has another. Check the path.")
    for part in parts[1:]:
        if part.kind != parts[0].kind:
            raise ValueError(
                f"{part.path} and {parts[0].path} must be alike; got {part.kind}, and "
                f"{parts[0].kind}. Write both with one schema."
            )
    labels = np.concatenate([part.labels for part in parts])
    is_query = np.concatenate([part.is_query for part in parts])
    queries, has_gallery = int(np.sum(is_query)), parts[0].kind.has_split
    if has_gallery and queries in (0, len(labels)):
        raise ValueError(
            f"{paths[0]}: the column {SPLIT} needs both {QUERY} and {GALLERY}; got "
            f"{QUERY if queries else GALLERY} in all {len(labels)} rows. Leave the "
            "column out to search among the queries."
        )
    order = np.argsort(~is_query, kind="stable")  # queries first
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    rows, labels = _rows(parts, places), labels[order]
    if not has_gallery:
        return [rows, labels]
    return [rows[:queries], labels[:queries], rows[queries:], labels[queries:]]


def _part(path: pathlib.Path) -> _Part | None:
    """Returns a part; `None` if it has no rows."""
    with _opened(path) as file:
        if not file.metadata.num_rows:
            return None
        kind = kind_of(path, file.schema_arrow)
        columns = [LABEL, SPLIT] if kind.has_split else [LABEL]
        labels, is_query = [], []
        for start, batch in _batches(path, file, columns, _LABELS):
            labels.append(values(batch.column(LABEL)))
            if not kind.has_split:
                is_query.append(np.ones(batch.num_rows, bool))
                continue
            split = values(batch.column(SPLIT))
            check_split(path, split, start)
            is_query.append(split == QUERY)
    return _Part(path, kind, np.concatenate(labels), np.concatenate(is_query))


def _rows(parts: Sequence[_Part], places: np.ndarray) -> np.ndarray:
    """Returns the embeddings, each row at its place."""
    dim = _dim(parts[0].path)
    rows = array_on_disk((len(places), dim), np.dtype(parts[0].kind.dtype))
    size = max(1, _BLOCK_ENTRIES // dim)
    done = 0
    for part in parts:
        with _opened(part.path) as file:
            for start, batch in _batches(part.path, file, [EMBEDDING], size):
                block = embeddings(part.path, batch.column(EMBEDDING), dim, start)
                rows[places[done : done + len(block)]] = block
                done += len(block)
    return rows


def _dim(path: pathlib.Path) -> int:
    with _opened(path) as file:
        _, batch = next(_batches(path, file, [EMBEDDING], 1))
        dim = int(list_lengths(batch.column(EMBEDDING))[0])
    if not dim:
        raise ValueError(
            f"{path}: column {EMBEDDING}, row 0 is an empty list. Give every row the "
            "same number of entries, 1 or more."
        )
    return dim


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[pq.ParquetFile]:
    try:
        # If not mapped, a whole column of a row group is read before its first batch.
        with pq.ParquetFile(
            path, memory_map=True, page_checksum_verification=True
        ) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is damaged or not a Parquet file, or has a list of fixed size "
            f"that is null: {error}. Write it anew."
        ) from error


def _batches(
    path: pathlib.Path, file: pq.ParquetFile, columns: list[str], size: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yields batches without null rows, and the number in the file of their first."""
    start = 0
    for batch in file.iter_batches(size, columns=columns, use_threads=False):
        for name in columns:
            check_nulls(path, name, batch.column(name), start)
        yield start, batch
        start += batch.num_rows
