"""Similarities of random pairs of images: of one class, and of different ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ms_keras.retrieval.inputs import blocks, unit_rows

_PAIRS = 100_000  # of each kind; the share of a bin is then good to 0.3 %
_BLOCK_ENTRIES = 1 << 22


class Pairs(NamedTuple):
    """Similarities of pairs drawn at random, each pair as likely as any of its kind.

    Attributes:
        positive: `[pairs]` float32 cosines of two images of a class.
        negative: `[pairs]` float32 cosines of two images of different classes.
    """

    positive: np.ndarray
    negative: np.ndarray


def sample_pairs(
    queries: np.ndarray,
    labels: np.ndarray,
    gallery: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
    seed: int = 0,
) -> Pairs:
    """Returns similarities of random pairs of a query and an image to find.

    Args:
        queries: `[queries, dim]` numbers.
        labels: `[queries]` integer classes.
        gallery: `[gallery, dim]` numbers. Defaults to `None`: the queries themselves,
            none paired with itself.
        gallery_labels: `[gallery]` classes. Defaults to `None`.
        seed: Seed of the drawing. Defaults to `0`.

    Returns:
        100,000 pairs of each kind, drawn with replacement; none of a kind that does not
        exist.
    """
    rows = unit_rows(queries, "queries")
    references, reference_labels = rows, labels
    if gallery is not None and gallery_labels is not None:
        references, reference_labels = unit_rows(gallery, "gallery"), gallery_labels
    # In order of class, the positives of a query stand together: one draw picks among
    # them, or among all others, by an offset.
    order = np.argsort(reference_labels, kind="stable")
    in_order = reference_labels[order]
    first = np.asarray(np.searchsorted(in_order, labels, "left"))
    count = np.asarray(np.searchsorted(in_order, labels, "right") - first)
    own = np.argsort(order) - first if gallery is None else None
    rng = np.random.default_rng(seed)

    negatives: np.ndarray = len(order) - count
    chosen = _draw_queries(rng, negatives)
    place = rng.integers(0, negatives[chosen])
    place += np.where(place >= first[chosen], count[chosen], 0)
    negative = _similarities(rows, references, chosen, order[place])

    positives: np.ndarray = count if own is None else count - 1
    chosen = _draw_queries(rng, positives)
    place = rng.integers(0, positives[chosen])
    if own is not None:
        place += place >= own[chosen]
    positive = _similarities(rows, references, chosen, order[first[chosen] + place])
    return Pairs(positive, negative)


def _draw_queries(rng: np.random.Generator, partners: np.ndarray) -> np.ndarray:
    """Draws queries, each as often as it has partners."""
    total = partners.sum()
    if not total:
        return np.zeros(0, np.int64)
    return rng.choice(len(partners), _PAIRS, p=partners / total)


def _similarities(
    rows: np.ndarray, references: np.ndarray, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    found: np.ndarray = np.empty(len(left), np.float32)
    for block in blocks(len(left), rows.shape[1], _BLOCK_ENTRIES):
        found[block] = np.einsum(
            "nd,nd->n", rows[left[block]], references[right[block]]
        )
    return found
