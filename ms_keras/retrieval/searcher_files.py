"""A searcher in a folder: its gallery, and a word about which kind it is."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np

_ABOUT = "searcher.json"


@contextlib.contextmanager
def write_folder(
    directory: str | os.PathLike[str], kind: str
) -> Iterator[pathlib.Path]:
    """Gives a folder to write into, which gets its name when all is written.

    Args:
        directory: The folder to make.
        kind: Which searcher will read it.

    Raises:
        ValueError: If the folder exists and is not empty.
    """
    target = pathlib.Path(directory)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} exists and is not an empty folder. Name another.")
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        yield beside
        (beside / _ABOUT).write_text(json.dumps({"kind": kind}), encoding="utf-8")
        os.replace(beside, target)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def check_folder(folder: pathlib.Path, kind: str) -> None:
    """Raises ValueError unless a folder holds a searcher of a kind."""
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        found = about["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(
            f"{folder} holds no saved searcher (no readable {_ABOUT}). Write one with "
            "a searcher's save."
        ) from None
    if found != kind:
        raise ValueError(f"{folder} holds a searcher of kind {found!r}, not {kind!r}.")


def read_gallery(folder: pathlib.Path, kind: str) -> np.ndarray:
    """Returns the gallery of a saved searcher, mapped from its file.

    Raises:
        ValueError: If the folder holds no searcher of that kind, or a damaged one.
    """
    check_folder(folder, kind)
    file = folder / "gallery.npy"
    try:
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{file} is missing or damaged: {error}") from error
