"""Embeddings that were computed elsewhere and saved as an .npz file."""

from __future__ import annotations

import os
import pathlib
import zipfile
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

_ALONE = ("embeddings", "labels")
_WITH_GALLERY = (
    "query_embeddings",
    "query_labels",
    "gallery_embeddings",
    "gallery_labels",
)


class SavedArrays(NamedTuple):
    """Embeddings to score, in the order of `recall_at_k`'s arguments.

    Attributes:
        embeddings: `[queries, dim]`.
        labels: `[queries]` class ids or names.
        gallery: `[gallery, dim]`, or `None` to search among the queries.
        gallery_labels: `[gallery]`, or `None`.
    """

    embeddings: np.ndarray
    labels: np.ndarray
    gallery: np.ndarray | None = None
    gallery_labels: np.ndarray | None = None


def load_arrays(path: str | os.PathLike[str]) -> SavedArrays:
    """Reads an .npz file.

    Args:
        path: The file. Its arrays are `embeddings` and `labels`, or `query_embeddings`,
            `query_labels`, `gallery_embeddings` and `gallery_labels`; others are left
            alone.

    Raises:
        ValueError: If the file is missing, damaged or no .npz, has not exactly one of
            the two sets of arrays, or has Python objects in one of them.
    """
    if not pathlib.Path(path).is_file():
        raise ValueError(f"{path}: no such file. Check the path.")
    try:
        arrays = _read(path)
    except (EOFError, OSError, zipfile.BadZipFile, zlib.error):
        raise ValueError(
            f"{path} is damaged or not an .npz file. Write it with numpy.savez("
            "path, embeddings=..., labels=...)."
        ) from None
    return SavedArrays(*arrays)


def _read(path: str | os.PathLike[str]) -> list[np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise zipfile.BadZipFile
    with np.load(path, allow_pickle=False) as file:
        return [_array(path, file, name) for name in _wanted(path, file.files)]


def _array(
    path: str | os.PathLike[str], file: Mapping[str, np.ndarray], name: str
) -> np.ndarray:
    try:
        return file[name]
    except ValueError as error:
        raise ValueError(
            f"{path}: the array {name} cannot be read: {error}. Save labels as "
            "integers or strings, for example numpy.array(labels, dtype=str)."
        ) from error


def _wanted(path: str | os.PathLike[str], found: list[str]) -> tuple[str, ...]:
    present = [s for s in (_ALONE, _WITH_GALLERY) if set(s) <= set(found)]
    if len(present) != 1:
        raise ValueError(
            f"{path} must hold the arrays {', '.join(_ALONE)}, or "
            f"{', '.join(_WITH_GALLERY)}, and not both sets; got "
            f"{', '.join(sorted(found)) or 'none'}."
        )
    return present[0]
