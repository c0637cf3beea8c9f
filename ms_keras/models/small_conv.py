"""A small convolutional backbone that trains from scratch in minutes on a CPU."""

from __future__ import annotations

import tensorflow as tf

_FILTERS = (32, 64, 128, 128)


def small_conv(image_size: int) -> tf.keras.Model:
    """Builds four strided convolutions, for drawings of about 48-64 px.

    Without batch norm: its running statistics mean nothing before training, and a
    tower freezes them by default.

    Args:
        image_size: Height and width of the images, in pixels.

    Returns:
        A model from `[batch, image_size, image_size, 3]` to
        `[batch, image_size / 16, image_size / 16, 128]`.
    """
    images = tf.keras.Input((image_size, image_size, 3))
    x = images
    for filters in _FILTERS:
        x = tf.keras.layers.Conv2D(
            filters, 3, strides=2, padding="same", kernel_initializer="he_normal"
        )(x)
        x = tf.keras.layers.ReLU()(x)
    return tf.keras.Model(images, x, name="small_conv")
