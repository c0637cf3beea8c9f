"""Smaller test splits."""

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.data.protocol import ImageSet, Protocol
from ms_keras.data.sample import sampled_protocol


def image_set(labels):
    return ImageSet(
        labels=np.array(labels, np.int64),
        class_names=("a", "b", "c", "d"),
        read=lambda index: tf.strings.as_string(index),
        image_name=lambda index: f"image {index}",
    )


LABELS = [3, 0, 1, 2] * 5
WHOLE = Protocol("test", image_set([0, 0]), image_set(LABELS), None, (1, 2))


@pytest.mark.parametrize(("images", "classes"), [(1, 2), (5, 2), (10, 2), (11, 3)])
def test_whole_classes_are_taken_until_there_are_enough(images, classes):
    sample = sampled_protocol(WHOLE, images)
    assert len(sample.test) == 5 * classes
    assert len(np.unique(sample.test.labels)) == classes
    assert sample.train is WHOLE.train
    assert sample.ks == WHOLE.ks


def test_images_keep_their_labels_contents_and_names():
    test = sampled_protocol(WHOLE, 10, seed=3).test
    for place, label in enumerate(test.labels):
        index = int(test.read(tf.constant(place, tf.int64)).numpy())
        assert LABELS[index] == label
        assert test.image_name(place) == f"image {index}"
    read = list(tf.data.Dataset.range(len(test)).map(test.read).as_numpy_iterator())
    assert len(set(read)) == 10


def test_a_seed_always_chooses_the_same_classes():
    def chosen(seed):
        return set(sampled_protocol(WHOLE, 10, seed).test.labels.tolist())

    assert chosen(1) == chosen(1)
    assert len({frozenset(chosen(seed)) for seed in range(20)}) > 1


def test_the_gallery_has_the_same_classes():
    gallery = image_set([0, 1, 2, 3, 3])
    whole = Protocol("test", WHOLE.train, WHOLE.test, gallery, (1,))
    sample = sampled_protocol(whole, 10)
    expected = np.isin(gallery.labels, sample.test.labels)
    np.testing.assert_array_equal(sample.gallery.labels, gallery.labels[expected])


def test_a_sample_as_large_as_the_split_is_the_split():
    assert sampled_protocol(WHOLE, 20) is WHOLE


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="an image or more; got 0"):
        sampled_protocol(WHOLE, 0)
