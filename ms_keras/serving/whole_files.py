"""Files that appear complete or not at all, and never in the place of another."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yields where to write a file, and gives it its name at the end, or removes it.

    Args:
        target: The file to make; its folder is made if it is missing.

    Raises:
        FileExistsError: If there is a file of that name, made since it was looked for.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        yield beside
        _name(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def _name(beside: Path, target: Path) -> None:
    try:
        os.link(beside, target)  # refuses where a rename replaces
    except OSError as error:
        if target.exists():
            raise FileExistsError(
                f"{target} was made meanwhile, and is left as it is. Name another file."
            ) from error
        beside.rename(target)  # a file system without links
