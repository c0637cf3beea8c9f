"""Exact Recall@K from the rank of each query's best positive.

A query is answered at K if its best positive is among the K nearest, so one rank per
query tells Recall@K for every K: no list of neighbours is needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral

import numpy as np
import tensorflow as tf

from ms_keras.retrieval.inputs import blocks, check_count, class_ids, unit_rows

# Similarities this close are ties, and ties count against the query. Matmuls of equal
# rows were seen to differ by up to 4 units of the last place of 1 (OpenBLAS, 512 to
# 1,024 entries; TensorFlow's by 0.5) because they split sums by the row's place.
TIE = 8 * float(np.finfo(np.float32).eps)
_BLOCK_ENTRIES = 1 << 25  # of the similarities held at a time: 128 MB, masks beside
# TensorFlow multiplies float32 on recent GPUs with 10 bits of mantissa.
_DEVICE = "CPU:0"


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
    one point does not score 1. Queries that have no positive at all are left out, with
    a warning that says how many.

    Args:
        embeddings: `[queries, dim]` numbers of any precision.
        labels: `[queries]` integer class ids, or names.
        ks: The K to report. Defaults to `(1, 2, 4, 8)`.
        gallery: `[gallery, dim]` numbers to search in. Defaults to `None`: each query
            is searched among the other queries.
        gallery_labels: `[gallery]` class ids or names. Defaults to `None`.

    Returns:
        `{k: recall}`.

    Raises:
        ValueError: If an array is empty, has NaN or infinite entries or a shape that
            does not fit, only one of the gallery arguments is given, a K is below 1, or
            no query has a positive.
    """
    check_ks(ks)
    ranks = best_positive_ranks(embeddings, labels, gallery, gallery_labels)
    recall = recall_of_ranks(ranks, ks)
    alone = int(np.sum(ranks == 0))
    if alone:
        warnings.warn(
            f"{alone} of {len(ranks)} queries have no positive to find; Recall@K "
            "leaves them out.",
            stacklevel=2,
        )
    return recall


def recall_of_ranks(ranks: np.ndarray, ks: Sequence[int]) -> dict[int, float]:
    """Returns Recall@K, given the ranks of `best_positive_ranks`.

    Raises:
        ValueError: If a K is below 1, or no query has a positive.
    """
    check_ks(ks)
    answerable = ranks[ranks > 0]
    if not len(answerable):
        raise ValueError(
            f"None of the {len(ranks)} queries has another image of its class to find. "
            "Recall@K needs classes with two images, or with one in the gallery."
        )
    return {int(k): float(np.mean(answerable <= k)) for k in ks}


def check_ks(ks: Sequence[int]) -> None:
    """Raises ValueError unless there is a K and all are whole numbers above 0."""
    if not len(ks) or any(not isinstance(k, Integral) or k < 1 for k in ks):
        raise ValueError(f"ks must be whole numbers, 1 or more; got {list(ks)}.")


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
    if (gallery is None) != (gallery_labels is None):
        missing = "gallery" if gallery is None else "gallery_labels"
        raise ValueError(f"gallery and gallery_labels go together; got {missing}=None.")
    queries = references = unit_rows(embeddings, "embeddings")
    if gallery is not None:
        references = unit_rows(gallery, "gallery")
    _check_dims(queries, references, "embeddings")
    ids, reference_ids = class_ids(labels, gallery_labels)
    check_count(queries, ids, "embeddings")
    if gallery is None:
        reference_ids = ids
    check_count(references, reference_ids, "gallery")
    return _ranks(queries, ids, references, reference_ids, alone=gallery is None)


def nearest(
    queries: np.ndarray,
    gallery: np.ndarray,
    k: int,
    exclude: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the nearest rows of a gallery, nearest first.

    Args:
        queries: `[queries, dim]` numbers.
        gallery: `[gallery, dim]` numbers.
        k: How many; fewer are given if the gallery has fewer.
        exclude: `[queries]` gallery index that a query must not find, itself. Defaults
            to none.

    Returns:
        Indices `[queries, k]` int64 and cosine similarities `[queries, k]` float32;
        equal similarities by rising index.

    Raises:
        ValueError: If an array is empty, not finite or of a wrong shape, k is below 1,
            or `exclude` is not an index of the gallery for each query.
    """
    check_ks([k])
    rows, references = unit_rows(queries, "queries"), unit_rows(gallery, "gallery")
    _check_dims(rows, references, "queries")
    excluded = _excluded(exclude, len(rows), len(references))
    count = min(k, len(references) - (exclude is not None))
    found = []
    with tf.device(_DEVICE):
        everything = tf.constant(references)
        for block in blocks(len(rows), len(references), _BLOCK_ENTRIES):
            own = excluded[block]
            found.append(_block_nearest(rows[block], everything, own, count))
    return (
        np.concatenate([top.indices for top in found]).astype(np.int64),
        np.concatenate([top.values for top in found]),
    )


def _excluded(exclude: np.ndarray | None, queries: int, references: int) -> np.ndarray:
    """Returns `[queries]` int32 indices to leave out, -1 for none."""
    if exclude is None:
        return np.full(queries, -1, np.int32)
    indices = np.asarray(exclude)
    if indices.shape != (queries,) or not np.all(
        (indices >= 0) & (indices < references)
    ):
        raise ValueError(
            f"exclude must be [{queries}] indices of a gallery of {references} rows; "
            f"got {indices}."
        )
    return indices.astype(np.int32)


def _check_dims(queries: np.ndarray, references: np.ndarray, what: str) -> None:
    if references.shape[1] != queries.shape[1]:
        raise ValueError(
            f"{what} and gallery must have the same dim; got {queries.shape[1]} and "
            f"{references.shape[1]}."
        )


def _ranks(
    queries: np.ndarray,
    ids: np.ndarray,
    references: np.ndarray,
    reference_ids: np.ndarray,
    alone: bool,
) -> np.ndarray:
    own = np.arange(len(ids)) if alone else np.full(len(ids), -1)
    own = own.astype(np.int32)
    ranks = []
    with tf.device(_DEVICE):
        gallery = tf.constant(references), tf.constant(reference_ids)
        for block in blocks(len(ids), len(reference_ids), _BLOCK_ENTRIES):
            found = _block_ranks(queries[block], ids[block], own[block], *gallery)
            ranks.append(found.numpy())
    return np.concatenate(ranks)


@tf.function(autograph=False, reduce_retracing=True)
def _block_ranks(
    queries: tf.Tensor,
    ids: tf.Tensor,
    own: tf.Tensor,
    references: tf.Tensor,
    reference_ids: tf.Tensor,
) -> tf.Tensor:
    """Returns `[queries]` int64 ranks; `own` is a query's own reference, or -1."""
    similarities = tf.matmul(queries, references, transpose_b=True)
    same = ids[:, tf.newaxis] == reference_ids
    positives = tf.where(same & ~_itself(own, references), similarities, -np.inf)
    best = tf.reduce_max(positives, axis=1, keepdims=True)
    ahead = ~same & (similarities >= best - TIE)
    ranks = 1 + tf.math.count_nonzero(ahead, axis=1)
    return tf.where(tf.math.is_finite(best[:, 0]), ranks, 0)


def _block_nearest(
    queries: np.ndarray, references: tf.Tensor, own: np.ndarray, count: int
) -> tf.Tensor:
    similarities = tf.matmul(queries, references, transpose_b=True)
    similarities = tf.where(_itself(own, references), -np.inf, similarities)
    return tf.math.top_k(similarities, count)


def _itself(own: tf.Tensor, references: tf.Tensor) -> tf.Tensor:
    return own[:, np.newaxis] == tf.range(tf.shape(references)[0])
