"""Folders that a server watches: numbered versions, each complete or absent."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def versions(base: Path) -> list[int]:
    """Returns the numbers of a served model's versions, ascending.

    Args:
        base: Folder of the versions; may be missing.

    Raises:
        ValueError: If it is a file.
    """
    if base.exists() and not base.is_dir():
        raise ValueError(f"--out must be a folder; {base} is a file.")
    names = [path.name for path in base.iterdir()] if base.is_dir() else []
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal())


def next_version(base: Path) -> Path:
    """Returns the folder after the highest version in a served model's folder.

    Args:
        base: Folder of the versions; may be missing.

    Raises:
        ValueError: If it is a file.
    """
    return base / str(max(versions(base), default=0) + 1)


@contextmanager
def complete_or_absent(directory: Path) -> Iterator[Path]:
    """Yields a hidden sibling folder and renames it at the end, or removes it.

    Args:
        directory: The folder to make. A server that watches its parent never sees
            half of it.

    Raises:
        FileExistsError: If the folder exists.
    """
    if directory.exists():
        raise FileExistsError(
            f"{directory} exists already. Remove it, or save to another folder."
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its folders are closed to the account that the server runs under.
    unfinished = directory.parent / f".{directory.name}.{uuid.uuid4().hex}"
    try:
        yield unfinished
        unfinished.rename(directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
