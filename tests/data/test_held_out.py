"""Training classes that are held out."""

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.data.held_out import held_out, held_out_protocol
from ms_keras.data.protocol import ImageSet, Protocol


def image_set(labels, prefix="image"):
    return ImageSet(
        labels=np.array(labels, np.int64),
        class_names=tuple("abcdefgh"),
        read=lambda index: tf.strings.as_string(index),
        image_name=lambda index: f"{prefix} {index}",
    )


LABELS = [4, 0, 2, 6] * 3
WHOLE = Protocol("whole", image_set(LABELS), image_set([1, 3], "test"), None, (1, 2))


@pytest.mark.parametrize(("classes", "expected"), [(100, 25), (41, 10), (2, 1), (1, 1)])
def test_the_last_quarter_is_held_out(classes, expected):
    shuffled = np.random.default_rng(0).permutation(classes)
    np.testing.assert_array_equal(
        held_out(shuffled, 0.25), np.arange(classes - expected, classes)
    )


def test_classes_train_or_test_and_those_of_the_test_split_do_neither():
    protocol = held_out_protocol(WHOLE, 0.5)
    assert set(protocol.train.labels) == {0, 2}
    assert set(protocol.test.labels) == {4, 6}
    assert protocol.gallery is None
    assert protocol.ks == WHOLE.ks
    assert protocol.name == "whole, held-out training classes"


def test_a_gallery_is_left_out():
    with_gallery = Protocol("whole", WHOLE.train, WHOLE.test, WHOLE.test, (1,))
    assert held_out_protocol(with_gallery, 0.5).gallery is None


def test_images_keep_their_labels_contents_and_names():
    protocol = held_out_protocol(WHOLE, 0.5)
    for images in (protocol.train, protocol.test):
        read = tf.data.Dataset.range(len(images)).map(images.read)
        indices = [int(index) for index in read.as_numpy_iterator()]
        assert [LABELS[index] for index in indices] == images.labels.tolist()
        names = [images.image_name(place) for place in range(len(images))]
        assert names == [f"image {index}" for index in indices]


@pytest.mark.parametrize("share", [-0.1, 0.0, 1.0, float("nan")])
def test_a_share_that_is_none_is_told(share):
    with pytest.raises(ValueError, match="above 0 and below 1"):
        held_out_protocol(WHOLE, share)


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_too_few_classes_are_told(share):
    with pytest.raises(ValueError, match="two of each are needed"):
        held_out_protocol(WHOLE, share)
