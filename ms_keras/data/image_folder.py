"""The protocol of a folder with a sub-folder of images per class."""

from __future__ import annotations

import os

import numpy as np
from absl import logging

from ms_keras.data.class_split import choose_test_classes
from ms_keras.data.files import folder, split_by_class
from ms_keras.data.image_files import EXTENSIONS, is_image, visible_files
from ms_keras.data.protocol import Protocol


def image_folder(data_dir: str, test_classes: str, ks: tuple[int, ...]) -> Protocol:
    """Reads which images a folder holds: `data_dir/CLASS/**/IMAGE`.

    Hidden files and folders, those whose name begins with a dot, are passed over.

    Args:
        data_dir: The folder; its sub-folders are the classes, in alphabetical order.
        test_classes: Which of them test (see `choose_test_classes`).
        ks: The K of Recall@K to report.

    Raises:
        ValueError: If the folder is missing, or holds fewer than two classes with
            images; or as `choose_test_classes`.
    """
    root = folder(data_dir)
    names = sorted(
        entry.name
        for entry in os.scandir(root)
        if entry.is_dir() and not entry.name.startswith(".")
    )
    files = {name: sorted(visible_files(root / name)) for name in names}
    images = {name: [f for f in files[name] if is_image(f)] for name in names}
    _warn_of_others([f for name in names for f in files[name] if not is_image(f)])
    names = [name for name in names if images[name]]
    if len(names) < 2:
        raise ValueError(
            f"--data_dir={data_dir} holds {len(names)} sub-folders with images "
            f"({', '.join(EXTENSIONS)}); expected one per class, as in "
            "DATA_DIR/sparrow/1.jpg, DATA_DIR/wren/2.jpg."
        )
    paths = [path for name in names for path in images[name]]
    sizes = [len(images[name]) for name in names]
    labels: np.ndarray = np.repeat(np.arange(len(names)), sizes)
    chosen = choose_test_classes(names, test_classes)
    train, test = split_by_class(paths, labels, names, chosen)
    return Protocol(root.name, train, test, None, ks)


def _warn_of_others(files: list[str]) -> None:
    if files:
        logging.warning(
            "Left out %d files that do not end in %s: %s%s",
            len(files),
            ", ".join(EXTENSIONS),
            ", ".join(files[:3]),
            ", ..." if len(files) > 3 else "",
        )
