"""Folders that a server watches: numbered versions, each complete or absent."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
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


def check_base(base: Path) -> None:
    """Raises ValueError if no versions can be written to a folder, made if missing.

    For before the work of which a version is made. It makes nothing.
    """
    there = next(path for path in (base, *base.absolute().parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"--out={base} must be a folder; {there} is a file.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(
            f"--out={base} cannot be written: no permission to make anything in "
            f"{there}. Name another folder."
        )


@contextlib.contextmanager
def unfinished_folder(directory: Path, *, numbered: bool = False) -> Iterator[Path]:
    """Yields where to write what `finished` gives its name, and cleans up.

    Args:
        directory: The folder to make; with `numbered`, the one in which the next
            version is made. What is yielded is hidden beside the result, for a server
            that watches the versions never to see half of one. Parents are made, and
            do not stay if nothing comes of it.
        numbered: Whether `directory` is the folder of a model's versions. Defaults to
            `False`.

    Raises:
        FileExistsError: If the folder to make exists.
    """
    if not numbered:
        _refuse_existing(directory)
    parent = directory if numbered else directory.parent
    missing = [path for path in (parent, *parent.parents) if not path.exists()]
    parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its folders are closed to the account that the server runs under.
    unfinished = parent / f".unfinished.{uuid.uuid4().hex}"
    try:
        yield unfinished
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        for path in missing:
            with contextlib.suppress(OSError):  # it is not empty: something came of it
                path.rmdir()


def finished(unfinished: Path, directory: Path, *, numbered: bool = False) -> Path:
    """Gives what is complete its name.

    A version's number is chosen here, after that of any other exported meanwhile.

    Args:
        unfinished: As `unfinished_folder` yielded it.
        directory: As it was given.
        numbered: As it was given.

    Returns:
        The folder made.

    Raises:
        FileExistsError: If the folder was made meanwhile.
    """
    while True:
        target = next_version(directory) if numbered else directory
        try:
            unfinished.rename(target)
        except OSError:
            if not target.exists():
                raise
            if not numbered:
                _refuse_existing(target)
            continue  # another export took the number between the two lines
        return target


@contextlib.contextmanager
def complete_or_absent(directory: Path) -> Iterator[Path]:
    """Yields a hidden sibling folder and renames it at the end, or removes it.

    Args:
        directory: The folder to make. A server that watches its parent never sees
            half of it.

    Raises:
        FileExistsError: If the folder exists.
    """
    with unfinished_folder(directory) as unfinished:
        yield unfinished
        finished(unfinished, directory)


def _refuse_existing(directory: Path) -> None:
    """Raises FileExistsError if there is something of this name."""
    if directory.exists():
        raise FileExistsError(
            f"{directory} exists already. Remove it, or save to another folder."
        )
