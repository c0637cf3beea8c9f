"""Generated images: to try a recipe out without its data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ms_keras.data.protocol import ImageSet, Protocol

_SIZE = 96  # pixels, height and width of an image
_NOISE = 40.0  # standard deviation around a class's colour, in grey levels


def generated_protocol(
    classes: int,
    images_per_class: int,
    ks: Sequence[int] = (1, 2),
    with_gallery: bool = False,
) -> Protocol:
    """Returns a protocol of JPEG files drawn as they are read: a colour per class.

    Args:
        classes: Classes to train on, and as many others to test on.
        images_per_class: Images of each, in each split.
        ks: The K of Recall@K. Defaults to `(1, 2)`.
        with_gallery: Whether test images are searched in a gallery of their own.
            Defaults to `False`.
    """
    first, second, third = (
        _image_set(classes, images_per_class, seed) for seed in range(3)
    )
    gallery = third if with_gallery else None
    return Protocol("generated", first, second, gallery, tuple(ks))


def _image_set(classes: int, images_per_class: int, seed: int) -> ImageSet:
    labels: np.ndarray = np.repeat(np.arange(classes), images_per_class)
    class_of = tf.constant(labels, tf.int64)

    def read(index: tf.Tensor) -> tf.Tensor:
        colour = tf.random.stateless_uniform(
            [3], tf.stack([class_of[index], 0]), maxval=255.0
        )
        noise = tf.random.stateless_normal(
            [_SIZE, _SIZE, 3], tf.stack([index, seed + 1]), stddev=_NOISE
        )
        pixels = tf.clip_by_value(colour + noise, 0.0, 255.0)
        return tf.io.encode_jpeg(tf.cast(pixels, tf.uint8))

    return ImageSet(
        labels=labels,
        class_names=tuple(f"colour {number}" for number in range(classes)),
        read=read,
        image_name=lambda index: f"generated image {index}",
    )
