"""A small convolutional backbone that trains from scratch in minutes on a CPU."""

from __future__ import annotations

import tensorflow as tf

# Filters, kernel size and stride of each layer.
_LAYERS = ((32, 5, 2), (64, 3, 2), (128, 3, 2), (128, 3, 1))
_GROUPS = 8


def small_conv(image_size: int) -> tf.keras.Model:
    """Builds four convolutions, for drawings of about 48-64 px.

    With group norm: statistics of batch norm mean nothing before training, and a tower
    freezes them by default.

    Args:
        image_size: Height and width of the images, in pixels.

    Returns:
        A model from `[batch, image_size, image_size, 3]` to
        `[batch, image_size / 8, image_size / 8, 128]`, sizes rounded up.
    """
    images = tf.keras.Input((image_size, image_size, 3))
    maps = images
    for filters, kernel_size, stride in _LAYERS:
        maps = tf.keras.layers.Conv2D(
            filters,
            kernel_size,
            strides=stride,
            padding="same",
            use_bias=False,  # group norm brings its own
            kernel_initializer="he_normal",
        )(maps)
        maps = tf.keras.layers.GroupNormalization(_GROUPS)(maps)
        maps = tf.keras.layers.ReLU()(maps)
    return tf.keras.Model(images, maps, name="small_conv")
