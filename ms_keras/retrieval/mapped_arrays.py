"""Arrays that lie in a file and not in memory: which are, and how to make one."""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Any

import numpy as np


def is_mapped(array: np.ndarray) -> bool:
    """Whether an array, or the one it is a view of, is a memory-mapped file."""
    # The type does not tell: copies of a np.memmap are of it too, in memory.
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return isinstance(owner, mmap.mmap)


def array_on_disk(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Returns a new array, mapped from an unnamed file in the temporary folder.

    The file's disk space is given back when the last view of the array dies, and when
    the program ends, however it ends.

    Args:
        shape: One entry at least.
        dtype: Of its entries, which are 0.

    Raises:
        ValueError: If the temporary folder has no room.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    try:
        with tempfile.TemporaryFile() as file:
            # Space that is only promised, as a sparse file's, kills the program with
            # a signal when the disk turns out full.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            return np.asarray(np.memmap(file, dtype, "r+", shape=shape))
    except OSError as error:
        raise ValueError(
            f"No room for {size / 1e6:,.1f} MB in the temporary folder: {error}. Name "
            "a folder on a larger disk in the environment variable TMPDIR."
        ) from error
