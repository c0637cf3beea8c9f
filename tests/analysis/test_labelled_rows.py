"""Embeddings are checked, sampled by class and cut into batches."""

import numpy as np
import pytest

from ms_keras.analysis.labelled_rows import (
    batches,
    check_same_images,
    checked_rows,
    sample_by_class,
)
from ms_keras.retrieval.saved_arrays import SavedArrays


def arrays(labels, gallery_labels=None, dim=4):
    rng = np.random.default_rng(0)
    if gallery_labels is None:
        return SavedArrays(rng.normal(size=(len(labels), dim)), np.array(labels))
    return SavedArrays(
        rng.normal(size=(len(labels), dim)),
        np.array(labels),
        rng.normal(size=(len(gallery_labels), dim)),
        np.array(gallery_labels),
    )


def test_rows_get_norm_one_and_names_become_ids():
    found = checked_rows(arrays(["b", "a", "b"], ["a", "c"]), "after")
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found.gallery, axis=1), 1, rtol=1e-6)
    assert found.labels.tolist() == [1, 0, 1]
    assert found.gallery_labels.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (arrays([0, 0])._replace(labels=np.zeros(3, int)), "2 rows and 3 labels"),
        (
            arrays([0, 1])._replace(embeddings=np.full((2, 4), np.nan)),
            "after: embeddings must be finite; 2 of 2 rows have NaN",
        ),
        (arrays([3, 3, 3]), "two classes at least are needed.*got 1"),
        (arrays([1, 2, 3]), "None of the 3 classes has two images"),
        (arrays([1, 2], [3, 4]), "None of the 4 classes has two images"),
        (
            arrays([0, 1], [0])._replace(gallery=np.ones((1, 3))),
            "same dim; got 4 and 3",
        ),
        (arrays([0.5, 1.5]), "labels must be integer class ids or strings"),
    ],
)
def test_wrong_embeddings_are_told(wrong, message):
    with pytest.raises(ValueError, match=message):
        checked_rows(wrong, "after")


def test_before_and_after_must_be_the_same_images():
    one = checked_rows(arrays([0, 0, 1]), "before")
    check_same_images(one, checked_rows(arrays([5, 5, 9]), "after"))
    for other in (arrays([0, 1, 1]), arrays([0, 0, 1], [0, 1])):
        with pytest.raises(ValueError, match="same images in the same order"):
            check_same_images(one, checked_rows(other, "after"))


def test_a_sample_holds_whole_classes():
    everything = checked_rows(arrays(np.repeat(np.arange(10), 7)), "after")
    found = sample_by_class(everything, 30)
    classes, counts = np.unique(found.labels, return_counts=True)
    assert counts.tolist() == [7] * 4
    expected = everything.embeddings[np.isin(everything.labels, classes)]
    np.testing.assert_array_equal(found.embeddings, expected)
    again = sample_by_class(everything, 30)
    np.testing.assert_array_equal(again.labels, found.labels)
    assert len(sample_by_class(everything, 70).labels) == 70


def test_a_sample_has_a_positive_and_a_negative_pair_however_small():
    labels = [*range(50), 7]
    found = sample_by_class(checked_rows(arrays(labels), "after"), 2)
    assert sorted(np.unique(found.labels, return_counts=True)[1]) == [1, 2]
    found = sample_by_class(checked_rows(arrays(range(50), [60, 3]), "after"), 2)
    assert 3 in found.labels
    assert 3 in found.gallery_labels


def test_batches_are_p_classes_of_k_images():
    everything = checked_rows(arrays(np.repeat(np.arange(6), 5)), "after")
    found = batches(everything, 4, 3, count=7)
    assert len(found) == 7
    for batch in found:
        assert batch.gallery is None
        _, counts = np.unique(batch.labels, return_counts=True)
        assert counts.tolist() == [3] * 4
        assert len(np.unique(batch.embeddings, axis=0)) == 12


def test_references_are_gallery_images_of_the_batchs_classes():
    queries, gallery = np.repeat(np.arange(6), 4), np.repeat([0, 1, 2, 3, 9], 5)
    gallery = np.append(gallery, 4)  # one image of class 4, none of class 5
    everything = checked_rows(arrays(queries, gallery), "after")
    for batch in batches(everything, 4, 3, count=5):
        classes, counts = np.unique(batch.gallery_labels, return_counts=True)
        assert classes.tolist() == np.unique(batch.labels).tolist()
        assert counts.tolist() == [3] * 4
        assert 5 not in batch.labels
        of_class = everything.gallery_labels[
            [np.flatnonzero((everything.gallery == row).all(1))[0] for row in batch[2]]
        ]
        np.testing.assert_array_equal(of_class, batch.gallery_labels)


def test_too_few_classes_for_a_batch_are_told():
    everything = checked_rows(arrays([0, 0, 1, 1], [0, 1, 2]), "after")
    with pytest.raises(
        ValueError, match=r"needs 3 classes.*have 2.*--classes_per_batch"
    ):
        batches(everything, 3, 2, count=1)
