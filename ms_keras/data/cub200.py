"""CUB-200-2011 as its official archive unpacks: a numbered folder per bird."""

from __future__ import annotations

import os
import pathlib
import re

from ms_keras.data.official import Lists, divided_by_class, read_table, require
from ms_keras.data.published import PUBLISHED

LAYOUT = "CUB_200_2011/images/001.Black_footed_Albatross/*.jpg and so on"


def lists(data_dir: pathlib.Path) -> Lists | None:
    """Returns the images of an unpacked archive, or `None` if there is none.

    Where the archive's `images.txt` lies beside `images/`, it says which images there
    are; else the folders do.

    Args:
        data_dir: The folder with `CUB_200_2011/`, that folder itself, or its `images/`.

    Raises:
        ValueError: If a part of the layout is missing, or a class has no number.
    """
    found = _images_folder(data_dir)
    if found is None:
        return None
    listed = found.parent / "images.txt"
    if listed.is_file():
        names = [name for _, name in read_table(listed, ("image_id", "image_name"))]
    else:
        names = _scan(found)
    images = [(str(found / name), *_class_of(name, found)) for name in names]
    return divided_by_class(images, PUBLISHED["cub200"].train_classes or 0)


def _images_folder(data_dir: pathlib.Path) -> pathlib.Path | None:
    if (data_dir / "CUB_200_2011").is_dir():
        return require(data_dir / "CUB_200_2011" / "images", LAYOUT)
    if (data_dir / "images.txt").is_file() or (data_dir / "images").is_dir():
        return require(data_dir / "images", LAYOUT)
    first_class = LAYOUT.split("/")[2]
    return data_dir if (data_dir / first_class).is_dir() else None


def _scan(folder: pathlib.Path) -> list[str]:
    return [
        f"{name}/{file}"
        for name in sorted(os.listdir(folder))
        if (folder / name).is_dir() and not name.startswith(".")
        for file in sorted(os.listdir(folder / name))
        if file.lower().endswith(".jpg") and not file.startswith(".")
    ]


def _class_of(name: str, folder: pathlib.Path) -> tuple[int, str]:
    """Returns the number and the name of an image's class."""
    match = re.fullmatch(r"((\d{3})\.[^/]+)/[^/]+", name)
    if not match:
        raise ValueError(
            f"{folder / name}: expected a class folder of a number and a name. "
            f"Expected layout: {LAYOUT}."
        )
    return int(match[2]), match[1]
