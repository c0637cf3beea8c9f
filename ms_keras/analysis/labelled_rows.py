"""Embeddings to analyse: checked, sampled by class, and cut into batches."""

from __future__ import annotations

import numpy as np

from ms_keras.data.sampler import PKSampler
from ms_keras.retrieval.inputs import check_count, class_ids, unit_rows
from ms_keras.retrieval.saved_arrays import SavedArrays

SEED = 0


def checked_rows(arrays: SavedArrays, state: str) -> SavedArrays:
    """Returns rows of norm 1 with integer class ids.

    Args:
        arrays: The embeddings.
        state: What error messages call them.

    Raises:
        ValueError: If the arrays do not fit each other, entries are not finite, there
            is one class only, or no pair of images is of one class.
    """
    try:
        return _checked(arrays)
    except ValueError as error:
        raise ValueError(f"{state}: {error}") from error


def _checked(arrays: SavedArrays) -> SavedArrays:
    labels, gallery_labels = class_ids(arrays.labels, arrays.gallery_labels)
    what = "embeddings" if arrays.gallery is None else "query_embeddings"
    rows = unit_rows(arrays.embeddings, what)
    check_count(rows, labels, what)
    found = SavedArrays(rows, labels)
    if arrays.gallery is not None:
        gallery = unit_rows(arrays.gallery, "gallery_embeddings")
        check_count(gallery, gallery_labels, "gallery_embeddings")
        if gallery.shape[1] != rows.shape[1]:
            raise ValueError(
                "query_embeddings and gallery_embeddings must have the same dim; got "
                f"{rows.shape[1]} and {gallery.shape[1]}."
            )
        found = found._replace(gallery=gallery, gallery_labels=gallery_labels)
    classes = len(np.union1d(labels, gallery_labels))
    if classes < 2:
        raise ValueError(
            f"Embeddings of two classes at least are needed, for negative pairs; got "
            f"{classes}."
        )
    if not len(paired_classes(found)):
        raise ValueError(
            f"None of the {classes} classes has two images to pair, so there is no "
            "positive pair. Check the labels."
        )
    return found


def check_same_images(before: SavedArrays, after: SavedArrays) -> None:
    """Raises ValueError unless both sets of embeddings are of the same images."""
    pairs = (
        ("labels", before.labels, after.labels),
        ("gallery labels", before.gallery_labels, after.gallery_labels),
    )
    for what, one, other in pairs:
        if (one is None) != (other is None) or not np.array_equal(one, other):
            raise ValueError(
                f"--before and --embeddings must hold the same images in the same "
                f"order; their {what} differ."
            )


def sample_by_class(arrays: SavedArrays, most: int) -> SavedArrays:
    """Returns all images of randomly chosen classes.

    Whole classes, because a sample of single images would lose most positive pairs.

    Args:
        arrays: What `checked_rows` returned.
        most: Images to return at most, queries and gallery together; but two classes
            are always taken.
    """
    reference_labels = references(arrays)[1]
    labels = arrays.labels
    if arrays.gallery is not None:
        labels = np.concatenate([labels, reference_labels])
    classes, counts = np.unique(labels, return_counts=True)
    order = np.random.default_rng(SEED).permutation(len(classes))
    # Classes without a positive pair come last, so that there is one in any sample.
    lonely = ~np.isin(classes[order], paired_classes(arrays))
    order = order[np.argsort(lonely, kind="stable")]
    fitting = int(np.searchsorted(np.cumsum(counts[order]), most, side="right"))
    chosen = classes[order[: max(2, fitting)]]
    return _rows(
        arrays,
        np.flatnonzero(np.isin(arrays.labels, chosen)),
        np.flatnonzero(np.isin(reference_labels, chosen)),
    )


def batches(
    arrays: SavedArrays, classes_per_batch: int, images_per_class: int, count: int
) -> list[SavedArrays]:
    """Returns batches of P classes with K images each, as training draws them.

    With a gallery, queries are drawn like this from the classes that also have gallery
    images, and K gallery images of each of the batch's classes are their references.

    Args:
        arrays: What `checked_rows` returned.
        classes_per_batch: P.
        images_per_class: K.
        count: How many batches.

    Raises:
        ValueError: If there are fewer than P classes.
    """
    usable = np.arange(len(arrays.labels))
    if arrays.gallery is not None:
        usable = np.flatnonzero(np.isin(arrays.labels, paired_classes(arrays)))
    classes = len(np.unique(arrays.labels[usable]))
    if classes < classes_per_batch:
        raise ValueError(
            f"A batch needs {classes_per_batch} classes; the embeddings have "
            f"{classes} to draw from. Lower --classes_per_batch."
        )
    labels = arrays.labels[usable]
    sampler = PKSampler(labels, classes_per_batch, images_per_class, SEED)
    rng = np.random.default_rng(SEED)
    found = []
    for step in range(count):
        rows = usable[sampler.batch(step)]
        drawn = arrays.labels[rows[::images_per_class]]
        found.append(
            _rows(arrays, rows, _of_each(arrays, drawn, images_per_class, rng))
        )
    return found


def paired_classes(arrays: SavedArrays) -> np.ndarray:
    """Returns the classes that have a positive pair."""
    if arrays.gallery_labels is not None:
        return np.intersect1d(arrays.labels, arrays.gallery_labels)
    classes, counts = np.unique(arrays.labels, return_counts=True)
    return classes[counts > 1]


def references(arrays: SavedArrays) -> tuple[np.ndarray, np.ndarray]:
    """Returns the gallery, or the rows themselves if there is none, with labels."""
    if arrays.gallery is None or arrays.gallery_labels is None:
        return arrays.embeddings, arrays.labels
    return arrays.gallery, arrays.gallery_labels


def _of_each(
    arrays: SavedArrays, classes: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Returns references of each class; some repeat if it has fewer than `count`."""
    labels = references(arrays)[1]
    members = [np.flatnonzero(labels == label) for label in classes]
    return np.concatenate(
        [rng.choice(some, count, replace=len(some) < count) for some in members]
    )


def _rows(
    arrays: SavedArrays, rows: np.ndarray, gallery_rows: np.ndarray
) -> SavedArrays:
    found = SavedArrays(arrays.embeddings[rows], arrays.labels[rows])
    if arrays.gallery is None:
        return found
    gallery, labels = references(arrays)
    return found._replace(
        gallery=gallery[gallery_rows], gallery_labels=labels[gallery_rows]
    )
