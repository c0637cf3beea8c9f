"""Exact search: every similarity is computed, block by block."""

from __future__ import annotations

import os
import pathlib

import numpy as np
import tensorflow as tf

from ms_keras.retrieval.inputs import (
    blocks,
    check_dims,
    check_ks,
    excluded_indices,
    unit_rows,
)
from ms_keras.retrieval.searcher import NOBODY, Neighbours, Searcher
from ms_keras.retrieval.searcher_files import read_gallery, write_folder

_BLOCK_ENTRIES = 1 << 25  # of the similarities held at a time: 128 MB
# TensorFlow multiplies float32 on recent GPUs with 10 bits of mantissa.
_DEVICE = "CPU:0"
_KIND = "exact"


class ExactSearcher(Searcher):
    """Compares each query with the whole gallery; equals come by rising index."""

    is_exact = True

    def __init__(self) -> None:
        self._gallery: np.ndarray | None = None

    def index(self, gallery: np.ndarray) -> ExactSearcher:
        """Keeps the gallery as rows of norm 1."""
        self._gallery = unit_rows(gallery, "gallery")
        return self

    def search(
        self, queries: np.ndarray, k: int, exclude: np.ndarray | None = None
    ) -> Neighbours:
        """Returns the k nearest rows of the gallery for each query."""
        check_ks([k])
        gallery = self._indexed()
        rows = unit_rows(queries, "queries")
        check_dims(rows, gallery, "queries")
        own = excluded_indices(exclude, len(rows), len(gallery))
        found = Neighbours(
            np.full((len(rows), k), NOBODY, np.int64),
            np.full((len(rows), k), -np.inf, np.float32),
        )
        count = min(k, len(gallery))
        with tf.device(_DEVICE):
            everything = tf.constant(gallery)
            for block in blocks(len(rows), len(gallery), _BLOCK_ENTRIES):
                top = _nearest(rows[block], everything, own[block], count)
                there = np.isfinite(top.values)
                found.indices[block, :count] = np.where(there, top.indices, NOBODY)
                found.similarities[block, :count] = top.values
        return found

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Writes the gallery."""
        with write_folder(directory, _KIND) as folder:
            np.save(folder / "gallery.npy", self._indexed())

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> ExactSearcher:
        """Returns the searcher that `save` wrote, its gallery mapped from the file."""
        return cls().index(read_gallery(pathlib.Path(directory), _KIND))

    def _indexed(self) -> np.ndarray:
        if self._gallery is None:
            raise ValueError("There is no gallery to search in yet; call index first.")
        return self._gallery


def _nearest(
    queries: np.ndarray, gallery: tf.Tensor, own: np.ndarray, count: int
) -> tf.Tensor:
    similarities = tf.matmul(queries, gallery, transpose_b=True)
    itself = own[:, np.newaxis] == tf.range(tf.shape(gallery)[0])
    return tf.math.top_k(tf.where(itself, -np.inf, similarities), count)
