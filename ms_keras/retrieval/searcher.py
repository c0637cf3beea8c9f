"""What finding neighbours means, whoever finds them."""

from __future__ import annotations

import abc
import os
from typing import NamedTuple

import numpy as np

NOBODY = -1  # the index where there is no further neighbour


class Neighbours(NamedTuple):
    """What queries find, nearest first.

    Attributes:
        indices: `[queries, k]` int64, rows of the gallery; `NOBODY` behind the last
            one, where a gallery or an approximate search has fewer than k.
        similarities: `[queries, k]` float32 cosines; `-inf` where there is nobody.
    """

    indices: np.ndarray
    similarities: np.ndarray


class Searcher(abc.ABC):
    """Finds the nearest rows of a gallery by their cosine.

    Attributes:
        is_exact: Whether nothing nearer is ever missed.

    Example:
    ```python
    searcher = ExactSearcher().index(embeddings)
    found = searcher.search(embeddings, k=10, exclude=np.arange(len(embeddings)))
    ```
    """

    is_exact: bool

    @abc.abstractmethod
    def index(self, gallery: np.ndarray) -> Searcher:
        """Takes a gallery in, in place of an earlier one.

        Args:
            gallery: `[n, dim]` numbers.

        Returns:
            The searcher itself.

        Raises:
            ValueError: If the array is empty, not finite or of a wrong shape.
        """

    @abc.abstractmethod
    def search(
        self, queries: np.ndarray, k: int, exclude: np.ndarray | None = None
    ) -> Neighbours:
        """Returns the k nearest rows of the gallery for each query.

        Args:
            queries: `[queries, dim]` numbers.
            k: How many.
            exclude: `[queries]` gallery index that a query must not find: itself.
                Defaults to `None`.

        Raises:
            ValueError: If there is no gallery yet, `queries` is empty, not finite or of
                a wrong shape, k is below 1, or `exclude` is not an index of the gallery
                for each query.
        """

    @abc.abstractmethod
    def save(self, directory: str | os.PathLike[str]) -> None:
        """Writes the gallery and what was made of it, complete or not at all.

        Raises:
            ValueError: If there is no gallery yet, or the folder is not empty.
        """

    @classmethod
    @abc.abstractmethod
    def load(cls, directory: str | os.PathLike[str]) -> Searcher:
        """Returns the searcher that `save` wrote.

        Raises:
            ValueError: If the folder holds none, another kind's, or a damaged one.
        """
