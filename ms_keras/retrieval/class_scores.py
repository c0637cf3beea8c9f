"""Which classes are found, and which are taken for which."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from ms_keras.retrieval.inputs import blocks, check_ks, class_ids
from ms_keras.retrieval.ranks import TIE
from ms_keras.retrieval.task import Task, as_task, check_answerable

_BLOCK_ENTRIES = 1 << 24  # of the similarities held at a time: 64 MB, and masks
# TensorFlow multiplies float32 on recent GPUs with 10 bits of mantissa.
_DEVICE = "CPU:0"


@dataclasses.dataclass(frozen=True)
class ClassRecall:
    """How many queries of a class find it.

    Attributes:
        label: The class, as in the labels given.
        recall: Recall@K of its queries, in [0, 1].
        num_queries: Its queries that have a positive.
    """

    label: int | str
    recall: float
    num_queries: int


@dataclasses.dataclass(frozen=True)
class Confusion:
    """How often images of one class find another class first.

    Attributes:
        query_class: The class, as in the labels given.
        found_class: The class that is found instead.
        count: The queries that do.
        share: Their share of the queries of the class that have a positive. The shares
            of a class, over all classes found, sum to 1 - Recall@1 of the class.
    """

    query_class: int | str
    found_class: int | str
    count: int
    share: float


def per_class_recall(
    ranks: np.ndarray, labels: np.ndarray, k: int = 1
) -> list[ClassRecall]:
    """Returns Recall@K of each class, the lowest first; equal ones by class.

    Args:
        ranks: `[queries]` integers of `best_positive_ranks`; queries of rank 0, without
            a positive, are left out, and a class of only such queries with them.
        labels: `[queries]` integer class ids, or names.
        k: The K. Defaults to 1.

    Raises:
        ValueError: If there is not a label for each rank, k is below 1, or no query has
            a positive.
    """
    check_ks([k])
    ranks, (ids, _) = np.asarray(ranks), class_ids(labels)
    if ranks.shape != ids.shape:
        raise ValueError(
            "ranks and labels must be [queries] both; got shapes "
            f"{ranks.shape} and {ids.shape}."
        )
    check_answerable(ranks)
    counts = np.bincount(ids[ranks > 0])
    hits = np.bincount(ids[(ranks > 0) & (ranks <= k)], minlength=len(counts))
    recall = hits / np.maximum(counts, 1)
    names = _names(labels, ids)
    order = np.lexsort([np.arange(len(counts)), recall])  # ids are in order of names
    return [
        ClassRecall(names[i], float(recall[i]), int(counts[i]))
        for i in order
        if counts[i]
    ]


def confusions(
    embeddings: np.ndarray,
    labels: np.ndarray,
    gallery: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
    top: int = 20,
) -> list[Confusion]:
    """Returns the pairs of classes that are confused most often.

    A query is confused if a negative is as similar as its best positive or more, as in
    Recall@1. It counts for the class of the nearest negative; of equally near ones, up
    to rounding, for that of the first. Queries without a positive are left out.

    Args:
        embeddings: `[queries, dim]` numbers of any precision.
        labels: `[queries]` integer class ids, or names.
        gallery: `[gallery, dim]` numbers to search in. Defaults to `None`: each query
            is searched among the other queries.
        gallery_labels: `[gallery]` class ids or names. Defaults to `None`.
        top: How many pairs to return at most. Defaults to 20.

    Returns:
        Pairs of a query's class and a found one, most frequent first; equally frequent
        ones by query class, then by found class.

    Raises:
        ValueError: If an array is empty, has NaN or infinite entries or a shape that
            does not fit, only one of the gallery arguments is given, `top` is below 1,
            or no query has a positive.
    """
    check_ks([top])
    task = as_task(embeddings, labels, gallery, gallery_labels)
    positives = task.positives()
    check_answerable(positives)
    found = _found_instead(task)
    found_ids = np.where(found >= 0, task.gallery_ids[found], -1)
    query_names = _names(labels, task.ids)
    found_names = query_names
    if gallery_labels is not None:
        found_names = _names(gallery_labels, task.gallery_ids)
    return [
        dataclasses.replace(
            one,
            query_class=query_names[int(one.query_class)],
            found_class=found_names[int(one.found_class)],
        )
        for one in count_confusions(task.ids, found_ids, positives > 0)[:top]
    ]


def count_confusions(
    ids: np.ndarray, found_ids: np.ndarray, answerable: np.ndarray
) -> list[Confusion]:
    """Returns which classes are found in place of which, the most frequent pair first.

    Args:
        ids: `[queries]` integer class ids.
        found_ids: `[queries]` ids of the classes found instead, -1 where none is.
        answerable: `[queries]` bool, whether a query has a positive; others are left
            out.
    """
    confused = answerable & (found_ids >= 0)
    pairs = np.stack([ids[confused], found_ids[confused]], axis=1)
    distinct, counts = np.unique(pairs, axis=0, return_counts=True)
    totals = np.bincount(ids[answerable])
    order = np.argsort(-counts, kind="stable")  # equal ones by class
    return [
        Confusion(int(own), int(other), int(count), float(count / totals[own]))
        for (own, other), count in zip(distinct[order], counts[order], strict=True)
    ]


def _names(labels: np.ndarray, ids: np.ndarray) -> dict[int, int | str]:
    """Returns each id's label as Python has it."""
    array = np.asarray(labels)
    return dict(zip(ids.tolist(), array.tolist(), strict=True))


def _found_instead(task: Task) -> np.ndarray:
    """Returns `[queries]` int64: the reference found before all positives, or -1."""
    found, own = [], task.own()
    with tf.device(_DEVICE):
        references = tf.constant(task.gallery), tf.constant(task.gallery_ids)
        for block in blocks(len(task.ids), len(task.gallery), _BLOCK_ENTRIES):
            queries = task.queries[block], task.ids[block], own[block]
            found.append(_nearest_negative(*queries, *references).numpy())
    return np.concatenate(found)


@tf.function(autograph=False, reduce_retracing=True)
def _nearest_negative(
    queries: tf.Tensor,
    ids: tf.Tensor,
    own: tf.Tensor,
    references: tf.Tensor,
    reference_ids: tf.Tensor,
) -> tf.Tensor:
    """Returns `[queries]` int64, -1 where a positive is nearer or there is none."""
    similarities = tf.matmul(queries, references, transpose_b=True)
    same = ids[:, tf.newaxis] == reference_ids
    itself = own[:, tf.newaxis] == tf.range(tf.shape(references)[0])
    best = tf.reduce_max(tf.where(same & ~itself, similarities, -np.inf), axis=1)
    negatives = tf.where(same, -np.inf, similarities)
    nearest = tf.reduce_max(negatives, axis=1)
    first = tf.argmax(negatives >= nearest[:, tf.newaxis] - TIE, axis=1)
    ahead = tf.math.is_finite(best) & (nearest >= best - TIE)
    return tf.where(ahead, first, tf.constant(-1, tf.int64))
