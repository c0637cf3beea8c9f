"""ResNet-50 as torchvision builds it, which is not quite the one Keras has.

Against `resnet50`, a bottleneck halves the maps in its 3x3 convolution ("v1.5"),
convolutions have no bias, and borders are padded alike on all sides. Layers have
torchvision's names with underscores for dots, `layer1_0_conv1`; the last layer of a
bottleneck has the bottleneck's name, `layer1_0`.

Reference: [He et al., 2016](https://arxiv.org/abs/1512.03385).
"""

from __future__ import annotations

import tensorflow as tf

CHECKPOINT_URL = "https://download.pytorch.org/models/resnet50-0676ba61.pth"
HOW_TO_GET_WEIGHTS = (
    f"Keras does not host them: download {CHECKPOINT_URL}, convert it with `python -m "
    "ms_keras.models.convert_resnet50 --checkpoint=resnet50-0676ba61.pth "
    "--out=resnet50_torch.weights.h5`, and pass weights='resnet50_torch.weights.h5'."
)

# Of each stage: bottlenecks, channels within them, stride of the first.
_STAGES = {
    "layer1": (3, 64, 1),
    "layer2": (4, 128, 2),
    "layer3": (6, 256, 2),
    "layer4": (3, 512, 2),
}
# A bottleneck gives so many times the channels that it has within.
_EXPANSION = 4


def resnet50_torch(image_size: int) -> tf.keras.Model:
    """Builds the network without its classification top.

    Args:
        image_size: Height and width of the images, in pixels.

    Returns:
        A model from `[batch, image_size, image_size, 3]` RGB standardised by ImageNet's
        mean and deviation to `[batch, k, k, 2048]`, where k is `image_size / 32`,
        rounded up.
    """
    images = tf.keras.Input((image_size, image_size, 3))
    maps = _convolution(images, "conv1", 64, 7, stride=2)
    maps = _batch_norm(maps, "bn1")
    maps = tf.keras.layers.ReLU(name="relu")(maps)
    # PyTorch pads with -inf; behind a ReLU zeros give the same maxima.
    maps = tf.keras.layers.ZeroPadding2D(1, name="maxpool_padding")(maps)
    maps = tf.keras.layers.MaxPooling2D(3, 2, name="maxpool")(maps)
    for stage, (count, channels, stride) in _STAGES.items():
        for i in range(count):
            first = i == 0
            maps = _bottleneck(
                maps, f"{stage}_{i}", channels, stride if first else 1, project=first
            )
    return tf.keras.Model(images, maps, name="resnet50_torch")


def _bottleneck(
    maps: tf.Tensor, name: str, channels: int, stride: int, project: bool
) -> tf.Tensor:
    """Appends three convolutions and the shortcut around them.

    Args:
        maps: What they run on.
        name: The bottleneck's name, such as `layer1_0`.
        channels: Channels of the first two convolutions.
        stride: That of the second convolution, and of the shortcut.
        project: Whether a convolution brings the shortcut to the shape of the rest.
    """
    shortcut, wide = maps, _EXPANSION * channels
    if project:
        shortcut = _convolution(maps, f"{name}_downsample_0", wide, 1, stride)
        shortcut = _batch_norm(shortcut, f"{name}_downsample_1")
    maps = _convolution(maps, f"{name}_conv1", channels, 1)
    maps = _batch_norm(maps, f"{name}_bn1")
    maps = tf.keras.layers.ReLU(name=f"{name}_relu1")(maps)
    maps = _convolution(maps, f"{name}_conv2", channels, 3, stride)
    maps = _batch_norm(maps, f"{name}_bn2")
    maps = tf.keras.layers.ReLU(name=f"{name}_relu2")(maps)
    maps = _convolution(maps, f"{name}_conv3", wide, 1)
    maps = _batch_norm(maps, f"{name}_bn3")
    maps = tf.keras.layers.Add(name=f"{name}_add")([maps, shortcut])
    return tf.keras.layers.ReLU(name=name)(maps)


def _convolution(
    maps: tf.Tensor, name: str, filters: int, size: int, stride: int = 1
) -> tf.Tensor:
    """Appends a convolution that keeps the size of the maps, or halves it."""
    if size > 1:
        # Keras's "same" with a stride would pad maps of even size on one side only.
        maps = tf.keras.layers.ZeroPadding2D(size // 2, name=f"{name}_padding")(maps)
    return tf.keras.layers.Conv2D(
        filters,
        size,
        strides=stride,
        use_bias=False,
        # As torchvision does: `kaiming_normal_(mode="fan_out")`.
        kernel_initializer=tf.keras.initializers.VarianceScaling(
            scale=2.0, mode="fan_out", distribution="untruncated_normal"
        ),
        name=name,
    )(maps)


def _batch_norm(maps: tf.Tensor, name: str) -> tf.Tensor:
    """Appends batch norm with PyTorch's epsilon and momentum, not Keras's."""
    return tf.keras.layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=name)(
        maps
    )
