"""In-Shop Clothes Retrieval as its official archive unpacks: one list, three sides."""

from __future__ import annotations

import pathlib

from ms_keras.data.official import Images, Lists, read_table, require

LAYOUT = (
    "list_eval_partition.txt (also in Eval/) and img/, unpacked from img.zip (also in "
    "Img/)"
)
SIDES = ("train", "query", "gallery")
_COLUMNS = ("image_name", "item_id", "evaluation_status")
_LIST = "list_eval_partition.txt"


def lists(data_dir: pathlib.Path) -> Lists | None:
    """Returns the images of an unpacked archive, or `None` if there is none.

    Args:
        data_dir: The folder with the list and `img/`.

    Raises:
        ValueError: If the list or `img/` is missing, or the list is broken.
    """
    file, root = partition_file(data_dir), parent_of("img", data_dir)
    if not file.is_file() and not (root / "img").is_dir():
        return None
    require(root / "img", LAYOUT)
    sides = read_partition(require(file, LAYOUT))
    train, query, gallery = (
        [(str(root / path), item) for path, item in sides[side]] for side in SIDES
    )
    return Lists(train, query, gallery)


def partition_file(folder: pathlib.Path) -> pathlib.Path:
    """Returns where the list is, or would be."""
    inside = folder / "Eval" / _LIST
    return inside if inside.is_file() else folder / _LIST


def parent_of(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Returns which folder holds `img` or `img.zip`, or would hold it."""
    inside = folder / "Img"
    return inside if (inside / name).exists() else folder


def read_partition(file: pathlib.Path) -> dict[str, Images]:
    """Returns the images of each side: path, as listed, and item.

    Args:
        file: A `list_eval_partition.txt`: how many images there are, the names of the
            columns, and a line per image.

    Raises:
        ValueError: If the list is cut short or has sides of other names.
    """
    rows = read_table(file, _COLUMNS, head=2)
    count = file.read_text(encoding="utf-8-sig").split(maxsplit=1)[0]
    if count != str(len(rows)):
        raise ValueError(
            f"{file} begins with the number of its images, {count!r}, but lists "
            f"{len(rows)}. Is it cut short? Take the official file as it is."
        )
    sides: dict[str, Images] = {side: [] for side in SIDES}
    for path, item, side in rows:
        if side not in sides:
            raise ValueError(
                f"{file}: evaluation_status of {path} is {side!r}; expected one of "
                f"{', '.join(SIDES)}."
            )
        sides[side].append((path, item))
    return sides
