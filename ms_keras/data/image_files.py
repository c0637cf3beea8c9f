"""The files of a folder, and which of them are images by their names."""

from __future__ import annotations

import os
from collections.abc import Iterator

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


def visible_files(
    folder: str | os.PathLike[str], *, follow_links: bool = False
) -> Iterator[str]:
    """Yields the paths of a folder's files at any depth, in no order.

    Hidden files and folders, those whose name begins with a dot, are passed over:
    systems leave some beside photographs, `._1.jpg` among them.

    Args:
        folder: The folder; paths begin with it.
        follow_links: Whether links to folders are followed. Defaults to `False`.
    """
    for parent, folders, files in os.walk(folder, followlinks=follow_links):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (
            os.path.join(parent, name) for name in files if not name.startswith(".")
        )


def is_image(path: str) -> bool:
    """Whether a file is an image, as its name ends."""
    return path.lower().endswith(EXTENSIONS)
