"""What is searched in what, and what counts as found: the arguments of every score."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ms_keras.retrieval.inputs import check_count, check_dims, class_ids, unit_rows


class Task(NamedTuple):
    """Queries and the gallery they are searched in, checked.

    Attributes:
        queries: `[queries, dim]` float32 rows of norm 1.
        gallery: `[gallery, dim]` of the same; the queries, where they are the gallery.
        ids: `[queries]` int32 class ids.
        gallery_ids: `[gallery]` int32, of the same classes.
        is_self: Whether the queries are the gallery, and must not find themselves.
    """

    queries: np.ndarray
    gallery: np.ndarray
    ids: np.ndarray
    gallery_ids: np.ndarray
    is_self: bool

    def own(self) -> np.ndarray:
        """Returns `[queries]` int32: a query's own row of the gallery, or -1."""
        count = len(self.ids)
        if self.is_self:
            return np.arange(count, dtype=np.int32)
        return np.full(count, -1, np.int32)

    def positives(self) -> np.ndarray:
        """Returns `[queries]` int64: how many rows of its class a query could find."""
        counts = np.bincount(self.gallery_ids, minlength=self.ids.max() + 1)
        return counts[self.ids] - self.is_self

    def only(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns the chosen queries, and what each of them must not find."""
        return self.queries[chosen], chosen if self.is_self else None

    def sample(self, size: int, seed: int) -> np.ndarray:
        """Returns indices of queries that have a positive, drawn without repetition."""
        answerable = np.flatnonzero(self.positives() > 0)
        size = min(size, len(answerable))
        generator = np.random.default_rng(seed)
        return np.sort(generator.choice(answerable, size, replace=False))


def as_task(
    embeddings: np.ndarray,
    labels: np.ndarray,
    gallery: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
) -> Task:
    """Returns embeddings and labels as a task, checked.

    Args:
        embeddings: `[queries, dim]` numbers of any precision.
        labels: `[queries]` integer class ids, or names.
        gallery: `[gallery, dim]` numbers to search in. Defaults to `None`: each query
            is searched among the other queries.
        gallery_labels: `[gallery]` class ids or names. Defaults to `None`.

    Raises:
        ValueError: If an array is empty, has NaN or infinite entries or a shape that
            does not fit, or only one of the gallery arguments is given.
    """
    if (gallery is None) != (gallery_labels is None):
        missing = "gallery" if gallery is None else "gallery_labels"
        raise ValueError(f"gallery and gallery_labels go together; got {missing}=None.")
    queries = unit_rows(embeddings, "embeddings")
    ids, gallery_ids = class_ids(labels, gallery_labels)
    check_count(queries, ids, "embeddings")
    if gallery is None:
        return Task(queries, queries, ids, ids, True)
    references = unit_rows(gallery, "gallery")
    check_dims(queries, references, "embeddings")
    check_count(references, gallery_ids, "gallery")
    return Task(queries, references, ids, gallery_ids, False)


def check_answerable(positives: np.ndarray) -> None:
    """Raises ValueError unless a query has a positive.

    Args:
        positives: `[queries]` numbers, 0 for a query without one: how many it has, or
            the rank of the best.
    """
    if not np.any(positives > 0):
        raise ValueError(
            f"None of the {len(positives)} queries has another image of its class to "
            "find. Scores need classes with two images, or with one in the gallery."
        )
