"""Image sets whose images are files."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ms_keras.data.protocol import ImageSet


def file_set(
    paths: Sequence[str], labels: np.ndarray, class_names: Sequence[str]
) -> ImageSet:
    """Returns the images at `paths`, with their class ids.

    Args:
        paths: A path per image.
        labels: `[len(paths)]` indices into `class_names`.
        class_names: A name per class id.
    """
    table = tf.constant(list(paths), tf.string)
    return ImageSet(
        labels=np.asarray(labels, np.int64),
        class_names=tuple(class_names),
        read=lambda index: tf.io.read_file(table[index]),
        image_name=lambda index: paths[index],
    )


def missing_files(paths: Sequence[str]) -> list[str]:
    """Returns the paths at which there is no file, listing each folder once.

    Lists of images can be long, and asking for each file takes its time.
    """
    present = {
        parent: set(os.listdir(parent)) if os.path.isdir(parent) else set()
        for parent in {os.path.dirname(path) for path in paths}
    }
    return [
        path
        for path in paths
        if os.path.basename(path) not in present[os.path.dirname(path)]
    ]


def split_by_class(
    paths: Sequence[str], labels: np.ndarray, names: Sequence[str], test: np.ndarray
) -> tuple[ImageSet, ImageSet]:
    """Returns the images of training classes and those of test classes.

    Args:
        paths: A path per image.
        labels: `[len(paths)]` indices into `names`.
        names: A name per class id.
        test: `[len(names)]` bool.
    """
    return tuple(  # type: ignore[return-value]
        file_set(
            [paths[i] for i in np.flatnonzero(side[labels]).tolist()],
            (np.cumsum(side) - 1)[labels[side[labels]]],
            [name for name, taken in zip(names, side, strict=True) if taken],
        )
        for side in (~test, test)
    )


def folder(path: str, flag: str = "--data_dir") -> pathlib.Path:
    """Returns an existing folder.

    Raises:
        ValueError: If it is not named, or does not exist; names the flag to mend.
    """
    if not path:
        raise ValueError(f"{flag} is missing: name the folder of the images.")
    found = pathlib.Path(os.path.expanduser(path))
    if not found.is_dir():
        raise ValueError(f"{flag}={path}: no such folder. Check the path.")
    return found
