"""The batch that every contender gets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmarks.gpu.run import PER_CLASS
from benchmarks.gpu.run import batch_of as labels_and_rows

__all__ = ["PER_CLASS", "Batch", "batch_of"]


class Batch(NamedTuple):
    """What a loss is given.

    Attributes:
        rows: `[batch, dim]` float32 of norm 1, classes not yet apart.
        labels: `[batch]` int64, five of a class.
    """

    rows: np.ndarray
    labels: np.ndarray


def batch_of(count: int, dim: int) -> Batch:
    """Returns the same batch every time, the one that a GPU's kit gets too."""
    labels, rows = labels_and_rows(count, dim)
    return Batch(rows, labels.astype(np.int64))
