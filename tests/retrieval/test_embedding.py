"""Embedding an image set: which images, in which order, and the raw-pixel baseline."""

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.data.images import decode_for_scoring
from ms_keras.data.pipeline import UnreadableImages
from ms_keras.retrieval.embedding import embed, pixel_rows

SIZES = {"image_size": 32, "short_side": 32}


def mean_colour(images):
    return tf.reduce_mean(images, axis=[1, 2])


def test_rows_of_all_models_come_in_the_order_of_the_images(make_protocol):
    images = make_protocol().test
    models = {"mean": mean_colour, "negative": lambda x: -mean_colour(x)}
    embedded = embed(models, images, **SIZES)
    expected = [
        decode_for_scoring(images.read(i), 32, 32).numpy().mean(axis=(0, 1))
        for i in range(len(images))
    ]
    np.testing.assert_array_equal(embedded.indices, range(7))
    np.testing.assert_allclose(embedded.rows["mean"], expected, rtol=1e-5)
    np.testing.assert_allclose(-embedded.rows["negative"], expected, rtol=1e-5)


def test_an_unreadable_image_is_named_with_the_mend(make_protocol):
    images = make_protocol(broken=[3]).test
    with pytest.raises(ValueError, match=r"image 3.*--skip_unreadable"):
        embed({"mean": mean_colour}, images, **SIZES)


def test_skipped_images_have_no_row_and_the_others_keep_their_index(make_protocol):
    images = make_protocol(broken=[0, 3]).test
    skip = UnreadableImages(skip=True)
    embedded = embed({"mean": mean_colour}, images, unreadable=skip, **SIZES)
    assert embedded.indices.tolist() == [1, 2, 4, 5, 6]
    assert embedded.rows["mean"].shape == (5, 3)


def test_a_set_without_a_readable_image_is_refused(make_protocol):
    images = make_protocol(broken=range(7)).test
    skip = UnreadableImages(skip=True)
    with pytest.raises(ValueError, match="None of the 7 photographs can be read"):
        embed({"m": mean_colour}, images, unreadable=skip, what="photographs", **SIZES)


def test_raw_pixels_are_block_means_less_the_mean_of_the_image():
    # A triangle of radius 2 is what antialiased bilinear halving weighs pixels by.
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("f4")
    kernel = np.array([0.25, 0.75, 0.75, 0.25]) / 2
    inner = np.zeros((2, 30, 30, 3))
    for i in range(4):
        for j in range(4):
            part = images[:, 1 + i : 61 + i : 2, 1 + j : 61 + j : 2]
            inner += kernel[i] * kernel[j] * part
    rows = pixel_rows(images).numpy()
    assert rows.shape == (2, 32 * 32 * 3)
    np.testing.assert_allclose(rows.mean(axis=1), 0, atol=1e-3)
    differences = rows.reshape(2, 32, 32, 3)[:, 1:-1, 1:-1] - inner
    shift = differences.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(differences - shift, np.zeros_like(inner), atol=1e-2)


def test_raw_pixels_do_not_see_brightness():
    images = np.random.default_rng(1).uniform(0, 200, (2, 48, 48, 3)).astype("f4")
    brighter = pixel_rows(images + 40).numpy()
    np.testing.assert_allclose(pixel_rows(images).numpy(), brighter, atol=1e-2)
