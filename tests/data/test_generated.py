"""Generated images differ by class and by image, and stay the same."""

import numpy as np
import tensorflow as tf

from ms_keras.data.generated import generated_protocol


def pixels(images, index):
    return tf.io.decode_jpeg(images.read(tf.constant(index, tf.int64))).numpy()


def test_images_have_the_colour_of_their_class_and_noise_of_their_own():
    train = generated_protocol(classes=3, images_per_class=2).train
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    means = [pixels(train, index).mean(axis=(0, 1)) for index in range(6)]
    assert np.abs(means[0] - means[1]).max() < 5
    assert np.abs(means[0] - means[2]).max() > 20
    assert (pixels(train, 0) != pixels(train, 1)).mean() > 0.5
    np.testing.assert_array_equal(pixels(train, 3), pixels(train, 3))


def test_splits_differ_and_a_gallery_is_there_if_wanted():
    alone = generated_protocol(2, 2)
    assert alone.gallery is None
    assert (pixels(alone.train, 0) != pixels(alone.test, 0)).mean() > 0.5
    gallery = generated_protocol(2, 2, ks=(1, 3), with_gallery=True)
    assert gallery.ks == (1, 3)
    assert len(gallery.gallery) == 4
    assert (pixels(gallery.gallery, 0) != pixels(gallery.test, 0)).mean() > 0.5
