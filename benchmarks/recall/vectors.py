"""Unit vectors in clusters of clusters, like the embeddings of a test split."""

from __future__ import annotations

import pathlib
from typing import NamedTuple

import numpy as np

_IMAGES_PER_CLASS = 60502 / 11316  # of the test split of Stanford Online Products
_CLASSES_PER_SUPER_CLUSTER = 50
_SMALLEST_CLASS = 2  # so that every query has a positive
_BLOCK_ROWS = 1 << 14
_ROWS, _LABELS = "rows.npy", "labels.npy"


class Vectors(NamedTuple):
    """What is searched.

    Attributes:
        rows: `[n, dim]` float32 of norm 1, mapped from a file.
        labels: `[n]` int32 class ids.
    """

    rows: np.ndarray
    labels: np.ndarray


def write_vectors(
    folder: pathlib.Path, count: int, dim: int, difficulty: float, seed: int
) -> None:
    """Writes clustered vectors to a folder, block by block.

    A class centre is a super-cluster's centre plus noise of the same norm; a row is its
    class centre plus noise of norm `difficulty`, times a factor of its own, since
    photographs differ in how far they are from their class. All noise has a spectrum
    that falls off, in random directions, as embeddings have.

    Args:
        folder: Where to.
        count: Rows, 4 or more.
        dim: Entries of a row, 2 or more.
        difficulty: Above 0. The larger, the lower is Recall@K.
        seed: The same seed gives the same vectors.

    Raises:
        ValueError: If a number is too small.
    """
    if count < 2 * _SMALLEST_CLASS or dim < 2 or difficulty <= 0:
        raise ValueError(
            f"Vectors need {2 * _SMALLEST_CLASS} rows, 2 dimensions and a difficulty "
            f"above 0, or more; got {count} rows, {dim} dimensions and {difficulty}."
        )
    rng = np.random.default_rng(seed)
    directions = _directions(rng, dim)
    labels = _labels(rng, count)
    classes = int(labels.max()) + 1
    clusters = max(1, classes // _CLASSES_PER_SUPER_CLUSTER)
    centres = _noise(rng, clusters, directions)[rng.integers(0, clusters, classes)]
    centres += _noise(rng, classes, directions)
    rows = np.lib.format.open_memmap(
        folder / _ROWS, "w+", dtype=np.float32, shape=(count, dim)
    )
    for begin in range(0, count, _BLOCK_ROWS):
        some = labels[begin : begin + _BLOCK_ROWS]
        scales = difficulty * rng.lognormal(sigma=0.5, size=(len(some), 1))
        block = centres[some] + scales * _noise(rng, len(some), directions)
        rows[begin : begin + len(some)] = block / np.linalg.norm(
            block, axis=1, keepdims=True
        )
    rows.flush()
    np.save(folder / _LABELS, labels)


def read_vectors(folder: pathlib.Path) -> Vectors:
    """Returns what `write_vectors` wrote."""
    rows = np.load(folder / _ROWS, mmap_mode="r")
    return Vectors(rows, np.load(folder / _LABELS))


def _labels(rng: np.random.Generator, count: int) -> np.ndarray:
    """Returns shuffled class ids: each has two rows, and the others go by chance."""
    classes = max(2, round(count / _IMAGES_PER_CLASS))
    ids: np.ndarray = np.repeat(np.arange(classes), _SMALLEST_CLASS)
    rest = rng.integers(0, classes, count - len(ids))
    return rng.permutation(np.concatenate([ids, rest])).astype(np.int32)


def _directions(rng: np.random.Generator, dim: int) -> np.ndarray:
    """Returns orthogonal directions, `[dim, dim]`, whose lengths fall off."""
    lengths = (1.0 + np.arange(dim)) ** -0.5
    lengths /= np.linalg.norm(lengths)
    rotation, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    return lengths[:, np.newaxis] * rotation


def _noise(rng: np.random.Generator, count: int, directions: np.ndarray) -> np.ndarray:
    """Returns `[count, dim]` rows of norm 1 on average."""
    return rng.normal(size=(count, len(directions))) @ directions
