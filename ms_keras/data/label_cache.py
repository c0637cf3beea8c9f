"""Labels of a prepared data set, kept beside it so that they are read once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from absl import logging


def cached_labels(
    folder: pathlib.Path,
    key: Sequence[str | int],
    count: int,
    read: Callable[[], np.ndarray],
) -> np.ndarray:
    """Returns labels from a file, which is written at the first start.

    A damaged file is replaced. Where none can be written, as in a folder that others
    own, labels are read at each start.

    Args:
        folder: Where the data set lies; a path as TFDS has them will do.
        key: Whatever changes with the labels.
        count: How many labels there are.
        read: Returns them, `[count]` int64, by a pass over all records.

    Returns:
        `[count]` int64.
    """
    digest = hashlib.sha256(json.dumps(list(key)).encode("utf-8")).hexdigest()
    file = folder / f"ms_keras_labels_{digest[:16]}.npy"
    labels = _kept(file)
    if labels is None or labels.shape != (count,) or labels.dtype != np.int64:
        labels = read()
        _keep(file, labels)
    return labels


def _kept(file: pathlib.Path) -> np.ndarray | None:
    try:
        with file.open("rb") as stream:
            return np.load(stream, allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there, or damaged
        return None


def _keep(file: pathlib.Path, labels: np.ndarray) -> None:
    """Writes a file that is complete or absent, whenever the program is killed."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with beside.open("wb") as stream:
            np.save(stream, labels)
        beside.replace(file)
    except OSError as error:
        logging.info("Labels cannot be kept as %s: %s", file, error)
        with contextlib.suppress(OSError):
            beside.unlink()
