"""The pairs of real embeddings: how similar they are, and what a loss makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ms_keras.analysis.labelled_rows import references
from ms_keras.losses import PairLoss
from ms_keras.retrieval.inputs import blocks
from ms_keras.retrieval.saved_arrays import SavedArrays

EDGES = np.linspace(-1, 1, 101)
_BLOCK_ENTRIES = 1 << 22

SIMILARITIES_HEADER = (
    "state", "from", "to", "positive_pairs", "negative_pairs",
    "positive_density", "negative_density",
)  # fmt: skip
ANCHORS_HEADER = (
    "state", "anchor", "kept_positives", "kept_negatives", "positive_weight",
    "negative_weight",
)  # fmt: skip


class PairCounts(NamedTuple):
    """How many pairs fall between two `EDGES` of similarity; each `[bins]` int64."""

    positive: np.ndarray
    negative: np.ndarray


class AnchorPairs(NamedTuple):
    """What a loss keeps of each anchor's pairs; each `[anchors]`.

    Attributes:
        kept_positives: Positive pairs with a weight other than 0.
        kept_negatives: Negative ones.
        positive_weight: The sum of the positive pairs' weights, without sign.
        negative_weight: That of the negative pairs.
    """

    kept_positives: np.ndarray
    kept_negatives: np.ndarray
    positive_weight: np.ndarray
    negative_weight: np.ndarray


def similarity_counts(arrays: SavedArrays) -> PairCounts:
    """Counts all pairs by their cosine similarity.

    Each pair of images counts once and none with itself; with a gallery, each query
    with each image of the gallery.

    Args:
        arrays: Rows of norm 1 with integer class ids.
    """
    others, labels = references(arrays)
    columns = np.arange(len(labels))
    counts: np.ndarray = np.zeros((2, len(EDGES) - 1), np.int64)
    for block in blocks(len(arrays.labels), len(labels), _BLOCK_ENTRIES):
        similarities = arrays.embeddings[block] @ others.T
        similarities = np.clip(similarities, -1, 1)  # rounding goes past them
        same = arrays.labels[block, np.newaxis] == labels
        counted = np.full(same.shape, True)
        if arrays.gallery is None:
            counted = columns > columns[block, np.newaxis]
        for kind, pairs in enumerate((same & counted, ~same & counted)):
            counts[kind] += np.histogram(similarities[pairs], EDGES)[0]
    return PairCounts(*counts)


def densities(counts: np.ndarray) -> np.ndarray:
    """Returns counts as a density over similarity: its integral is 1."""
    return counts / (counts.sum() * np.diff(EDGES))


def anchor_pairs(loss: PairLoss, batches: Iterable[SavedArrays]) -> AnchorPairs:
    """Returns what a loss keeps of the pairs in batches, for all their anchors.

    Args:
        loss: Whose mining and weights.
        batches: Embeddings; with a gallery, queries are anchors and the gallery their
            references.
    """
    found = [_of_batch(loss, batch) for batch in batches]
    return AnchorPairs(*map(np.concatenate, zip(*found, strict=True)))


def _of_batch(loss: PairLoss, batch: SavedArrays) -> AnchorPairs:
    weights = loss.pair_weights(
        batch.labels, batch.embeddings, batch.gallery_labels, batch.gallery
    ).numpy()
    same = batch.labels[:, np.newaxis] == references(batch)[1]
    kept = weights != 0
    # Self-pairs have weight 0, so that counting them among the positives adds nothing.
    return AnchorPairs(
        (kept & same).sum(axis=1),
        (kept & ~same).sum(axis=1),
        np.abs(np.where(same, weights, 0)).sum(axis=1, dtype=np.float64),
        np.abs(np.where(same, 0, weights)).sum(axis=1, dtype=np.float64),
    )


def similarity_rows(states: dict[str, PairCounts]) -> list[tuple]:
    """Returns the rows of the similarities' CSV file."""
    return [
        (state, *row)
        for state, counts in states.items()
        for row in zip(
            EDGES[:-1], EDGES[1:], *counts, *map(densities, counts), strict=True
        )
    ]


def anchor_rows(states: dict[str, AnchorPairs]) -> list[tuple]:
    """Returns the rows of the kept pairs' CSV file, anchors in the batches' order."""
    return [
        (state, anchor, *row)
        for state, pairs in states.items()
        for anchor, row in enumerate(zip(*pairs, strict=True))
    ]


def told(states: dict[str, AnchorPairs]) -> str:
    """Returns the means over anchors as a line for each state."""
    return "\n".join(
        f"  {state}: per anchor {pairs.kept_positives.mean():.2f} positives and "
        f"{pairs.kept_negatives.mean():.2f} negatives kept, with total weights "
        f"{pairs.positive_weight.mean():.3g} and {pairs.negative_weight.mean():.3g}"
        for state, pairs in states.items()
    )
