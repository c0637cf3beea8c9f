"""Stanford Online Products as its official archive unpacks."""

from __future__ import annotations

import pathlib

from ms_keras.data.official import Images, Lists, read_table, require

LAYOUT = (
    "Stanford_Online_Products/ with Ebay_train.txt, Ebay_test.txt and the folders "
    "bicycle_final/ to toaster_final/"
)
_COLUMNS = ("image_id", "class_id", "super_class_id", "path")
_TABLES = ("Ebay_train.txt", "Ebay_test.txt")


def lists(data_dir: pathlib.Path) -> Lists | None:
    """Returns the images of an unpacked archive, or `None` if there is none.

    Args:
        data_dir: The folder with `Stanford_Online_Products/`, or that folder itself.

    Raises:
        ValueError: If a list is missing or broken.
    """
    root = data_dir / "Stanford_Online_Products"
    if not root.is_dir():
        root = data_dir
        if not any((root / name).is_file() for name in _TABLES):
            return None
    train, test = (_images(root, require(root / name, LAYOUT)) for name in _TABLES)
    return Lists(train, test)


def _images(root: pathlib.Path, file: pathlib.Path) -> Images:
    rows = read_table(file, _COLUMNS, head=1)
    return [(str(root / path), class_id) for _, class_id, _, path in rows]
