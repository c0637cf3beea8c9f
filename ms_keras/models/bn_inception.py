"""BN-Inception, the backbone of the paper, as its PyTorch checkpoint computes it.

Layers have the names of the Caffe model that the public weights come from; they are
also the names in the PyTorch checkpoint.

Reference: [Ioffe and Szegedy, 2015](https://arxiv.org/abs/1502.03167).
"""

from __future__ import annotations

import tensorflow as tf

CHECKPOINT_URL = (
    "http://data.lip6.fr/cadene/pretrainedmodels/bn_inception-52deb4733.pth"
)
HOW_TO_GET_WEIGHTS = (
    f"Keras does not host them: download {CHECKPOINT_URL}, convert it with `python -m "
    "ms_keras.models.convert_bn_inception --checkpoint=bn_inception-52deb4733.pth "
    "--out=bn_inception.weights.h5`, and pass weights='bn_inception.weights.h5'."
)

# Channels of each block's branches: 1x1; 3x3 reduce, 3x3; double 3x3 reduce, double 3x3
# (both); pool projection. Blocks without the first and last halve the maps.
_BLOCKS = {
    "3a": (64, 64, 64, 64, 96, 32),
    "3b": (64, 64, 96, 64, 96, 64),
    "3c": (0, 128, 160, 64, 96, 0),
    "4a": (224, 64, 96, 96, 128, 128),
    "4b": (192, 96, 128, 96, 128, 128),
    "4c": (160, 128, 160, 128, 160, 128),
    "4d": (96, 128, 192, 160, 192, 128),
    "4e": (0, 128, 192, 192, 256, 0),
    "5a": (352, 192, 320, 160, 224, 128),
    "5b": (352, 192, 320, 192, 224, 128),
}


def bn_inception(image_size: int) -> tf.keras.Model:
    """Builds the network without its classification top.

    Args:
        image_size: Height and width of the images, in pixels: from 32k - 1 to 32k + 6
            for a whole k >= 1, such as 224 or 227.

    Returns:
        A model from `[batch, image_size, image_size, 3]` BGR of 0-255 minus
        (104, 117, 128) to `[batch, k, k, 1024]`.

    Raises:
        ValueError: If the branches of a block would disagree in size.
    """
    _check(image_size)
    images = tf.keras.Input((image_size, image_size, 3))
    maps = _convolution(images, "conv1_7x7_s2", 64, 7, stride=2)
    maps = _halved(maps, "pool1_3x3_s2")
    maps = _convolution(maps, "conv2_3x3_reduce", 64, 1)
    maps = _convolution(maps, "conv2_3x3", 192, 3)
    maps = _halved(maps, "pool2_3x3_s2")
    for block, channels in _BLOCKS.items():
        maps = _block(maps, f"inception_{block}", channels)
    return tf.keras.Model(images, maps, name="bn_inception")


def _block(maps: tf.Tensor, name: str, channels: tuple[int, ...]) -> tf.Tensor:
    """Appends the three or four branches of a block and joins their channels."""
    single, reduce, triple, double_reduce, double, projection = channels
    stride = 1 if single else 2
    middle = _convolution(maps, f"{name}_3x3_reduce", reduce, 1)
    middle = _convolution(middle, f"{name}_3x3", triple, 3, stride)
    deep = _convolution(maps, f"{name}_double_3x3_reduce", double_reduce, 1)
    deep = _convolution(deep, f"{name}_double_3x3_1", double, 3)
    deep = _convolution(deep, f"{name}_double_3x3_2", double, 3, stride)
    if single:
        first = _convolution(maps, f"{name}_1x1", single, 1)
        pooled = _smoothed(maps, f"{name}_pool")
        last = _convolution(pooled, f"{name}_pool_proj", projection, 1)
        branches = [first, middle, deep, last]
    else:
        branches = [middle, deep, _halved(maps, f"{name}_pool")]
    return tf.keras.layers.Concatenate(name=f"{name}_output")(branches)


def _convolution(
    maps: tf.Tensor, name: str, filters: int, size: int, stride: int = 1
) -> tf.Tensor:
    """Appends convolution, batch norm and ReLU."""
    if stride > 1:
        # Keras's "same" would pad maps of even size on one side only.
        maps = tf.keras.layers.ZeroPadding2D(size // 2, name=f"{name}_padding")(maps)
    maps = tf.keras.layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding="valid" if stride > 1 else "same",
        kernel_initializer="he_normal",
        name=name,
    )(maps)
    # PyTorch's epsilon and momentum, which differ from Keras's.
    maps = tf.keras.layers.BatchNormalization(
        epsilon=1e-5, momentum=0.9, name=f"{name}_bn"
    )(maps)
    return tf.keras.layers.ReLU(name=f"{name}_relu")(maps)


def _halved(maps: tf.Tensor, name: str) -> tf.Tensor:
    """Appends a max pool of stride 2 whose last window may overhang by one.

    "same" does that to maps of even size; to those of odd size, whose windows fit
    exactly, it would add a window more.
    """
    padding = "same" if maps.shape[1] % 2 == 0 else "valid"
    return tf.keras.layers.MaxPooling2D(3, 2, padding=padding, name=name)(maps)


def _smoothed(maps: tf.Tensor, name: str) -> tf.Tensor:
    """Appends the pool before a projection, which keeps the size of the maps."""
    if name == "inception_5b_pool":
        return tf.keras.layers.MaxPooling2D(3, 1, padding="same", name=name)(maps)
    # The mean counts the zeros around the maps; that of Keras's "same" does not.
    maps = tf.keras.layers.ZeroPadding2D(1, name=f"{name}_padding")(maps)
    return tf.keras.layers.AveragePooling2D(3, 1, name=name)(maps)


def _check(image_size: int) -> None:
    """Refuses sizes that give a block with stride 2 maps of odd size.

    There its convolutions round up and its pool down; PyTorch's network fails as well.
    """
    maps = (image_size + 1) // 2 // 2 // 2  # after conv1, pool1 and pool2
    if maps == 0 or maps % 4:
        below = max(1, image_size // 32) * 32
        raise ValueError(
            "Backbone 'bn_inception' takes an image_size from 32k - 1 to 32k + 6, such "
            f"as 224 or 227; got {image_size}. Take {below} or {below + 32}."
        )
