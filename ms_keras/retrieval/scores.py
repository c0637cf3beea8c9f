"""Scoring a protocol, or embeddings, by Recall@K."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ms_keras.data.pipeline import UnreadableImages
from ms_keras.data.protocol import Protocol
from ms_keras.retrieval.embedding import Embedded, Model, embed
from ms_keras.retrieval.recall import best_positive_ranks, recall_of_ranks
from ms_keras.retrieval.saved_arrays import SavedArrays


@dataclasses.dataclass(frozen=True)
class Scores:
    """How well embeddings retrieve.

    Attributes:
        ranks: `[queries]` int64, the place of each query's best positive; 0 for a query
            without one.
        recall: Recall@K for each K of the protocol.
        num_gallery: Images that each query was searched in.
        num_skipped: Images left out because they cannot be read.
    """

    ranks: np.ndarray
    recall: dict[int, float]
    num_gallery: int
    num_skipped: int = 0

    @property
    def num_without_positive(self) -> int:
        """Queries with no other image of their class, left out of the recall."""
        return int(np.sum(self.ranks == 0))

    def counts(self) -> dict[str, int]:
        """Returns what was scored, for the report."""
        return {
            "num_queries": len(self.ranks),
            "num_without_positive": self.num_without_positive,
            "num_gallery": self.num_gallery,
            "num_skipped": self.num_skipped,
        }


@dataclasses.dataclass(frozen=True)
class Scored:
    """A protocol's test split, embedded and scored.

    Attributes:
        queries: The test images.
        gallery: What they were searched in; `None` for each other.
        scores: The scores per model.
    """

    queries: Embedded
    gallery: Embedded | None
    scores: dict[str, Scores]

    def arrays(self, protocol: Protocol, model: str) -> SavedArrays:
        """Returns a model's embeddings with the labels of the protocol's images."""
        rows = self.queries.rows[model]
        labels = protocol.test.labels[self.queries.indices]
        if self.gallery is None or protocol.gallery is None:
            return SavedArrays(rows, labels)
        gallery_labels = protocol.gallery.labels[self.gallery.indices]
        return SavedArrays(rows, labels, self.gallery.rows[model], gallery_labels)


def score_arrays(
    arrays: SavedArrays, ks: Sequence[int], num_skipped: int = 0
) -> Scores:
    """Scores embeddings; errors are those of `recall_at_k`."""
    ranks = best_positive_ranks(*arrays)
    searched = len(arrays.labels) - 1 if arrays.gallery is None else len(arrays.gallery)
    return Scores(ranks, recall_of_ranks(ranks, ks), searched, num_skipped)


def score_protocol(
    models: Mapping[str, Model],
    protocol: Protocol,
    *,
    image_size: int,
    short_side: int,
    unreadable: UnreadableImages | None = None,
    score: Callable[[SavedArrays, Sequence[int], int], Scores] = score_arrays,
) -> Scored:
    """Embeds the protocol's test split with models and scores each of them.

    Arguments are those of `embed`, errors also those of `recall_at_k`. `score` turns
    embeddings, the protocol's K and the number of images left out into scores; exactly,
    unless told otherwise.
    """
    sizes: dict[str, Any] = {"image_size": image_size, "short_side": short_side}
    sizes["unreadable"] = unreadable
    queries = embed(models, protocol.test, what="test images", **sizes)
    skipped = len(protocol.test) - len(queries.indices)
    gallery = None
    if protocol.gallery is not None:
        gallery = embed(models, protocol.gallery, what="gallery", **sizes)
        skipped += len(protocol.gallery) - len(gallery.indices)
    scored = Scored(queries, gallery, {})
    for name in models:
        arrays = scored.arrays(protocol, name)
        scored.scores[name] = score(arrays, protocol.ks, skipped)
    return scored
