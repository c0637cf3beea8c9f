"""Embeddings that were computed elsewhere and saved: as .npz, .npy or Parquet."""

from __future__ import annotations

import os
import pathlib
import tokenize
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
# What a damaged header was seen to raise, at one step or another of its parser.
_DAMAGES = (
    EOFError,
    OSError,
    OverflowError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
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
    """Reads embeddings and labels in one of three forms.

    An .npz file is read into memory. Embeddings in the other two forms may be larger
    than that: .npy files are mapped read-only, and Parquet is unpacked, a block at a
    time, into an unnamed file in the temporary folder, which is mapped.

    Args:
        path: An .npz file with the arrays `embeddings` and `labels`, or
            `query_embeddings`, `query_labels`, `gallery_embeddings` and
            `gallery_labels`; others are left alone. Or a folder with an .npy file for
            each of these arrays. Or a .parquet file, or a folder of such in the order
            of their names, with the columns `embedding` (lists of floating-point
            numbers), `label` (integers or strings) and, if there is a gallery, `split`
            ("query" or "gallery").

    Raises:
        ValueError: If the path is missing, damaged or of no such form, has not exactly
            one of the two sets of arrays, or has Python objects in one of them; if a
            Parquet column is missing, of another type, or has nulls or lists of
            several lengths; if pyarrow is missing, or room in the temporary folder.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        return SavedArrays(*_read_folder(path))
    if not path.is_file():
        raise ValueError(f"{path}: no such file. Check the path.")
    if path.suffix.lower() == ".parquet":
        return SavedArrays(*_read_parquet([path]))
    try:
        arrays = _read(path)
    except (EOFError, OSError, zipfile.BadZipFile, zlib.error):
        raise ValueError(
            f"{path} is damaged or not an .npz file. Write it with numpy.savez("
            "path, embeddings=..., labels=...), or name a folder of .npy files or a "
            ".parquet file."
        ) from None
    return SavedArrays(*arrays)


def _read(path: pathlib.Path) -> list[np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise zipfile.BadZipFile
    with np.load(path, allow_pickle=False) as file:
        return [_array(path, file, name) for name in _wanted(path, file.files)]


def _array(path: pathlib.Path, file: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    try:
        return file[name]
    except ValueError as error:
        raise ValueError(
            f"{path}: the array {name} cannot be read: {error}. Save labels as "
            "integers or strings, for example numpy.array(labels, dtype=str)."
        ) from error


def _read_folder(path: pathlib.Path) -> list[np.ndarray]:
    # Names with a dot or an underscore first are notes of those who write such folders.
    parts = sorted(f for f in path.glob("*.parquet") if f.name[0] not in "._")
    names = [file.stem for file in path.glob("*.npy")]
    if parts and names:
        raise ValueError(
            f"{path} holds .npy files and .parquet files. Leave one of the two there."
        )
    if not parts and not names:
        raise ValueError(f"{path} holds no .npy or .parquet files. Check the path.")
    if parts:
        return _read_parquet(parts)
    return [_mapped(path / f"{name}.npy") for name in _wanted(path, names)]


def _mapped(path: pathlib.Path) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except _DAMAGES as error:
        raise ValueError(
            f"{path} is damaged or not an .npy file of numbers or strings: {error}. "
            "Write it with numpy.save(path, array); labels as integers or strings, for "
            "example numpy.array(labels, dtype=str)."
        ) from error


def _read_parquet(paths: list[pathlib.Path]) -> list[np.ndarray]:
    try:
        from ms_keras.retrieval.parquet import read_parquet
    except ImportError as error:
        raise ValueError(
            f"{paths[0]}: reading Parquet needs pyarrow, which cannot be imported: "
            f"{error}. Install it with: pip install pyarrow (beside NumPy 1: "
            "pip install 'pyarrow<26')."
        ) from error
    return read_parquet(paths)


def _wanted(path: pathlib.Path, found: list[str]) -> tuple[str, ...]:
    present = [s for s in (_ALONE, _WITH_GALLERY) if set(s) <= set(found)]
    if len(present) != 1:
        raise ValueError(
            f"{path} must hold the arrays {', '.join(_ALONE)}, or "
            f"{', '.join(_WITH_GALLERY)}, and not both sets; got "
            f"{', '.join(sorted(found)) or 'none'}."
        )
    return present[0]
