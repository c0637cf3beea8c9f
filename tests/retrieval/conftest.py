"""A protocol of small pictures, each class of its own colour."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ms_keras.data.protocol import ImageSet, Protocol

COLOURS = np.array([[220, 30, 30], [30, 200, 60], [40, 60, 220], [200, 190, 40]])
NAMES = ("a $very$ long_name of a class", "bee", "cat", "dog")


def png(label, seed):
    noise = np.random.default_rng(seed).integers(-25, 26, (40, 48, 3))
    pixels = np.clip(COLOURS[label] + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def image_set(labels, seed=0, broken=()):
    files = [png(label, 100 * seed + i) for i, label in enumerate(labels)]
    table = tf.constant([b"" if i in broken else f for i, f in enumerate(files)])
    return ImageSet(
        labels=np.asarray(labels, np.int64),
        class_names=NAMES,
        read=lambda index: table[index],
        image_name=lambda index: f"image {index}",
    )


@pytest.fixture
def make_protocol():
    def make(labels=(0, 0, 1, 1, 2, 2, 3), gallery=None, broken=(), ks=(1, 2)):
        test = image_set(labels, broken=broken)
        other = None if gallery is None else image_set(gallery, seed=1)
        return Protocol("colours", test, test, other, ks)

    return make
