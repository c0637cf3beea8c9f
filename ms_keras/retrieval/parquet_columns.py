"""What columns of Parquet files must hold, and their values as NumPy's."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa

EMBEDDING, LABEL, SPLIT = "embedding", "label", "split"
QUERY, GALLERY = "query", "gallery"
_LISTS = ("list", "large_list", "fixed_size_list")
_STRINGS = ("string", "large_string", "string_view")


class Kind(NamedTuple):
    """What all files of one table must have in common.

    Attributes:
        dtype: Of the embeddings.
        labels: "integers" or "strings".
        has_split: Whether there is a gallery.
    """

    dtype: str
    labels: str
    has_split: bool

    def __str__(self) -> str:
        split = "a" if self.has_split else "no"
        return f"{self.dtype} embeddings, {self.labels} as labels and {split} {SPLIT}"


def kind_of(path: pathlib.Path, schema: pa.Schema) -> Kind:
    """Returns what a file's columns hold.

    Raises:
        ValueError: If one is missing, there twice or of another type.
    """
    for name in (EMBEDDING, LABEL):
        if schema.names.count(name) != 1:
            raise ValueError(
                f"{path} must have the columns {EMBEDDING} and {LABEL}, once each; got "
                f"{', '.join(schema.names) or 'none'}. Rename what is called otherwise."
            )
    embedding = schema.field(EMBEDDING).type
    is_list = str(embedding).startswith(tuple(f"{name}<" for name in _LISTS))
    if not (is_list and pa.types.is_floating(embedding.value_type)):
        raise ValueError(
            f"{path}: column {EMBEDDING} must hold lists of float16, float32 or "
            f"float64; got {embedding}. Cast it to pyarrow.list_(pyarrow.float32())."
        )
    label = _content(schema.field(LABEL).type)
    if not (pa.types.is_integer(label) or str(label) in _STRINGS):
        raise ValueError(
            f"{path}: column {LABEL} must hold integers or strings; got {label}. Cast "
            "it to one of the two."
        )
    has_split = SPLIT in schema.names
    if has_split and (
        schema.names.count(SPLIT) != 1
        or str(_content(schema.field(SPLIT).type)) not in _STRINGS
    ):
        raise ValueError(
            f"{path}: column {SPLIT} must be there once and hold the strings {QUERY} "
            f"and {GALLERY}; got {', '.join(map(str, schema))}. Cast or rename it, or "
            "leave it out."
        )
    dtype = f"float{embedding.value_type.bit_width}"
    return Kind(dtype, "strings" if str(label) in _STRINGS else "integers", has_split)


def check_nulls(path: pathlib.Path, name: str, column: pa.Array, start: int) -> None:
    """Raises ValueError if a column, from row `start` of a file on, has a null."""
    if column.null_count:
        raise ValueError(
            f"{path}: column {name}, row {start + _first_null(column)} is null. Fill "
            "it in or drop the row."
        )


def check_split(path: pathlib.Path, split: np.ndarray, start: int) -> None:
    """Raises ValueError if a value is neither query nor gallery."""
    others = np.flatnonzero((split != QUERY) & (split != GALLERY))
    if len(others):
        raise ValueError(
            f"{path}: column {SPLIT}, row {start + others[0]} must be {QUERY} or "
            f"{GALLERY}; got {str(split[others[0]])!r}. Mend it, or rename the column "
            "if it means something else."
        )


def embeddings(
    path: pathlib.Path, column: pa.Array, dim: int, start: int
) -> np.ndarray:
    """Returns lists as `[rows, dim]`.

    Raises:
        ValueError: If a list has another length or a null in it.
    """
    lengths = list_lengths(column)
    others = np.flatnonzero(lengths != dim)
    if len(others):
        raise ValueError(
            f"{path}: column {EMBEDDING}, row {start + others[0]} has "
            f"{lengths[others[0]]} entries; the first row has {dim}. Give every row "
            "the same number."
        )
    entries = column.flatten()
    if entries.null_count:
        row, entry = divmod(_first_null(entries), dim)
        raise ValueError(
            f"{path}: column {EMBEDDING}, row {start + row} has a null at entry "
            f"{entry}. Fill it in or drop the row."
        )
    return entries.to_numpy().reshape(-1, dim)


def list_lengths(column: pa.Array) -> np.ndarray:
    """Returns how many entries each list has, given lists without nulls."""
    if pa.types.is_fixed_size_list(column.type):
        return np.full(len(column), column.type.list_size)
    return np.diff(column.offsets.to_numpy())


def values(column: pa.Array) -> np.ndarray:
    """Returns integers as int64, and strings as NumPy's."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_integer(column.type):
        # Beside signed ones, uint64 would become float64, which merges large ids.
        return column.to_numpy().astype(np.int64)
    return np.asarray(column.to_pylist(), dtype=str)


def _content(type_: pa.DataType) -> pa.DataType:
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _first_null(column: pa.Array) -> int:
    return int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
