"""Exact Recall@K from the rank of each query's best positive.

A query is answered at K if its best positive is among the K nearest, so one rank per
query tells Recall@K for every K: no list of neighbours is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from ms_keras.unit_rows import unit_rows

# Where sums are split differently, equal rows can differ by some units of the last
# place. Similarities this close are ties, and ties count against the query.
TIE = 2e-6
_BLOCK_ENTRIES = 1 << 25  # of the similarities held at a time: 128 MB


def recall_at_k(
    embeddings: np.ndarray,
    labels: np.ndarray,
    ks: Sequence[int] = (1, 2, 4, 8),
    gallery: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
) -> dict[int, float]:
    """Returns the share of queries with a positive among their K nearest neighbours.

    Similarity is the cosine. A query is left out of its own neighbours by its index;
    equal similarities count against the query, so that a tower that maps everything to
    one point does not score 1. Queries that have no positive at all are left out.

    Args:
        embeddings: `[queries, dim]` floats.
        labels: `[queries]` class ids or names.
        ks: The K to report. Defaults to `(1, 2, 4, 8)`.
        gallery: `[gallery, dim]` floats to search in. Defaults to `None`: each query is
            searched among the other queries.
        gallery_labels: `[gallery]` class ids or names.

    Returns:
        `{k: recall}`.

    Raises:
        ValueError: If an array is empty, has NaN or infinite entries or a shape that
            does not fit, only one of the gallery arguments is given, a K is below 1, or
            no query has a positive.
    """
    ranks = best_positive_ranks(embeddings, labels, gallery, gallery_labels)
    return recall_of_ranks(ranks, ks)


def recall_of_ranks(ranks: np.ndarray, ks: Sequence[int]) -> dict[int, float]:
    """Returns Recall@K, given the ranks of `best_positive_ranks`.

    Raises:
        ValueError: If a K is below 1, or no query has a positive.
    """
    if any(k < 1 for k in ks):
        raise ValueError(f"ks must be 1 or more; got {list(ks)}.")
    answerable = ranks[ranks > 0]
    if not len(answerable):
        raise ValueError(
            f"None of the {len(ranks)} queries has another image of its class to find."
        )
    return {int(k): float(np.mean(answerable <= k)) for k in ks}


def best_positive_ranks(
    embeddings: np.ndarray,
    labels: np.ndarray,
    gallery: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
) -> np.ndarray:
    """Returns at which place of its neighbours each query finds its first positive.

    Arguments and errors are those of `recall_at_k`.

    Returns:
        `[queries]` int64: 1 plus the negatives at least as similar as the best
        positive; 0 for a query without a positive.
    """
    labels, gallery_labels = _class_ids(labels, gallery, gallery_labels)
    queries = checked_rows(embeddings, labels, "embeddings")
    if gallery is None:
        references, reference_labels = queries, labels
    else:
        references = checked_rows(gallery, gallery_labels, "gallery")
        reference_labels = gallery_labels
        if references.shape[1] != queries.shape[1]:
            raise ValueError(
                "embeddings and gallery must have the same dim; got "
                f"{queries.shape[1]} and {references.shape[1]}."
            )
    ranks = [
        _block_ranks(
            queries[block],
            tf.constant(labels[block]),
            references,
            tf.constant(reference_labels),
            tf.constant(block.start if gallery is None else -len(labels)),
        ).numpy()
        for block in _blocks(len(labels), len(reference_labels))
    ]
    return np.concatenate(ranks)


def nearest(
    queries: np.ndarray,
    gallery: np.ndarray,
    k: int,
    exclude: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the nearest rows of a gallery, nearest first.

    Args:
        queries: `[queries, dim]` floats.
        gallery: `[gallery, dim]` floats.
        k: How many; fewer are given if the gallery has fewer.
        exclude: `[queries]` gallery index that a query must not find, itself. Defaults
            to none.

    Returns:
        Indices `[queries, k]` int64 and cosine similarities `[queries, k]` float32;
        equal similarities by rising index.

    Raises:
        ValueError: If an array is empty, not finite or of a wrong shape, or k below 1.
    """
    if k < 1:
        raise ValueError(f"k must be 1 or more; got {k}.")
    rows = checked_rows(queries, None, "queries")
    references = checked_rows(gallery, None, "gallery")
    found = []
    for block in _blocks(len(rows), len(references)):
        similarities = tf.matmul(rows[block], references, transpose_b=True).numpy()
        if exclude is not None:
            places = np.arange(len(similarities)), np.asarray(exclude)[block]
            similarities[places] = -np.inf
        count = min(k, len(references) - (exclude is not None))
        found.append(tf.math.top_k(similarities, count))
    return (
        np.concatenate([top.indices.numpy().astype(np.int64) for top in found]),
        np.concatenate([top.values.numpy() for top in found]),
    )


def checked_rows(rows: np.ndarray, labels: np.ndarray | None, what: str) -> tf.Tensor:
    """Returns `[n, dim]` float32 rows of norm 1.

    Raises:
        ValueError: If the rows are empty, not finite, of another rank, or not as many
            as the labels.
    """
    rows = np.asarray(rows)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(
            f"{what} must be a non-empty [n, dim] array; got {rows.shape}."
        )
    if labels is not None and len(labels) != len(rows):
        raise ValueError(
            f"{what} and their labels must be as many; got {len(rows)} rows and "
            f"{len(labels)} labels."
        )
    broken = ~np.isfinite(rows.astype(np.float64, copy=False).sum(axis=1))
    if broken.any():
        raise ValueError(
            f"{what} must be finite; {broken.sum()} of {len(rows)} rows have NaN or "
            f"infinite entries, first row {np.argmax(broken)}. Did training diverge?"
        )
    precise = tf.convert_to_tensor(rows.astype(np.result_type(rows, np.float32)))
    return tf.cast(unit_rows(precise), tf.float32)


def _class_ids(
    labels: np.ndarray, gallery: np.ndarray | None, gallery_labels: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels, numbers or names, as int64 ids common to queries and gallery."""
    if (gallery is None) != (gallery_labels is None):
        missing = "gallery" if gallery is None else "gallery_labels"
        raise ValueError(f"gallery and gallery_labels go together; got {missing}=None.")
    labels = np.asarray(labels)
    others = labels[:0] if gallery_labels is None else np.asarray(gallery_labels)
    for name, array in (("labels", labels), ("gallery_labels", others)):
        if array.ndim != 1:
            raise ValueError(f"{name} must have shape [n]; got {array.shape}.")
    _, ids = np.unique(np.concatenate([labels, others]), return_inverse=True)
    return ids[: len(labels)].astype(np.int64), ids[len(labels) :].astype(np.int64)


def _blocks(queries: int, references: int) -> Iterator[slice]:
    """Yields slices of queries whose similarities stay within the memory bound."""
    size = max(1, _BLOCK_ENTRIES // max(references, 1))
    for start in range(0, queries, size):
        yield slice(start, min(start + size, queries))


@tf.function(autograph=False, reduce_retracing=True)
def _block_ranks(
    queries: tf.Tensor,
    labels: tf.Tensor,
    references: tf.Tensor,
    reference_labels: tf.Tensor,
    first: tf.Tensor,
) -> tf.Tensor:
    """Returns the ranks of a block whose first query is reference `first`, or none."""
    similarities = tf.matmul(queries, references, transpose_b=True)
    same = labels[:, tf.newaxis] == reference_labels
    own = first + tf.range(tf.size(labels))
    itself = own[:, tf.newaxis] == tf.range(tf.size(reference_labels))
    positives = tf.where(same & ~itself, similarities, -np.inf)
    best = tf.reduce_max(positives, axis=1, keepdims=True)
    ahead = ~same & (similarities >= best - TIE)
    ranks = 1 + tf.reduce_sum(tf.cast(ahead, tf.int64), axis=1)
    return tf.where(tf.math.is_finite(best[:, 0]), ranks, 0)
