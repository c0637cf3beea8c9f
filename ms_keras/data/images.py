"""From encoded image files to the pixels a tower sees, in TensorFlow ops alone.

Nothing here calls back into Python, so that the same code runs in `tf.data` and inside
an exported SavedModel.
"""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from ms_keras.data import exif

_LOG_RATIO = math.log(4 / 3)  # aspect ratios of crops go from 3/4 to 4/3
_ATTEMPTS = 10
_DCT = "INTEGER_ACCURATE"  # the default is faster, and off by some grey levels


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random crop and horizontal flip.

    Attributes:
        image_size: Height and width of the result, in pixels.
        min_area: Least share of the image's area that a crop covers; the most is 1.
        flip: Whether half of the images are mirrored.
        short_side: What the short side of a larger image is resized to before it is
            cropped, in pixels; `image_size` at least. Defaults to `0`: crops are cut
            from images as they are.
        plain: Whether crops are squares of `image_size` from anywhere in the image
            whose short side is `short_side`, and `min_area` has no effect. Defaults to
            `False`: crops of random area and ratio, resized to `image_size`.
    """

    image_size: int
    min_area: float = 0.16
    flip: bool = True
    short_side: int = 0
    plain: bool = False

    def __post_init__(self) -> None:
        if self.image_size < 1:
            raise ValueError(f"image_size must be 1 or more; got {self.image_size}.")
        if not 0 < self.min_area <= 1:
            raise ValueError(
                f"min_area must be above 0 and at most 1; got {self.min_area}."
            )
        may_be_small = not self.short_side and not self.plain
        if self.short_side < self.image_size and not may_be_small:
            raise ValueError(
                f"short_side must be image_size={self.image_size} or more, for the "
                "crop to fit, or 0 where crops are not plain; got "
                f"{self.short_side}."
            )


def decode_for_training(
    encoded: tf.Tensor, seed: tf.Tensor, augmentation: Augmentation
) -> tf.Tensor:
    """Decodes a random crop of an image, upright as its Exif says.

    Only the crop of a JPEG is decoded: where the published protocol first resizes the
    whole image to its short side, the crop alone is. The same seed gives the same
    picture.

    Args:
        encoded: Scalar string, a JPEG or PNG file.
        seed: `[2]` int64.
        augmentation: What to do.

    Returns:
        `[image_size, image_size, 3]` float32 RGB in 0-255.
    """
    size = augmentation.image_size
    uniform = tf.random.stateless_uniform([2 * _ATTEMPTS + 3], seed)

    def crop_of_jpeg() -> tuple[tf.Tensor, tf.Tensor]:
        shape = tf.io.extract_jpeg_shape(encoded)
        box = _crop_box(shape, uniform[:-1], augmentation)
        crop = tf.image.decode_and_crop_jpeg(encoded, box, channels=3, dct_method=_DCT)
        return crop, shape

    def crop_of_other() -> tuple[tf.Tensor, tf.Tensor]:
        image = _decode_other(encoded)
        shape = tf.shape(image)
        box = _crop_box(shape, uniform[:-1], augmentation)
        top, left, height, width = tf.unstack(box)
        return image[top : top + height, left : left + width], shape

    crop, shape = tf.cond(tf.io.is_jpeg(encoded), crop_of_jpeg, crop_of_other)
    # A plain crop is resized once, by the very factor that the image would be.
    if augmentation.short_side and not augmentation.plain:
        crop = _crop_of_resized(crop, shape, augmentation.short_side)
    crop = exif.upright(crop, encoded)
    image = _resize(crop, tf.stack([size, size]))
    if augmentation.flip:
        image = tf.cond(uniform[-1] < 0.5, lambda: image[:, ::-1], lambda: image)
    return tf.ensure_shape(image, [size, size, 3])


def decode_for_scoring(
    encoded: tf.Tensor, image_size: int, short_side: int
) -> tf.Tensor:
    """Decodes an image the same way every time: short side resized, centre cropped.

    Photographs that cameras stored on their side are turned upright first.

    Args:
        encoded: Scalar string, a JPEG or PNG file.
        image_size: Height and width of the crop, in pixels.
        short_side: What the image's short side is resized to, `image_size` at least.

    Returns:
        `[image_size, image_size, 3]` float32 RGB in 0-255.

    Raises:
        ValueError: If the short side is less than the crop.
    """
    if short_side < image_size:
        raise ValueError(
            f"short_side must be image_size={image_size} or more, for the crop to fit; "
            f"got {short_side}."
        )
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method=_DCT),
        lambda: _decode_other(encoded),
    )
    image = exif.upright(image, encoded)
    shape = tf.shape(image)[:2]
    resized = shape * short_side // tf.reduce_min(shape)
    image = _resize(image, resized)
    top, left = tf.unstack((resized - image_size) // 2)
    image = image[top : top + image_size, left : left + image_size]
    return tf.ensure_shape(image, [image_size, image_size, 3])


def _crop_box(
    shape: tf.Tensor, uniform: tf.Tensor, augmentation: Augmentation
) -> tf.Tensor:
    """Returns `[top, left, height, width]` of a random crop, anywhere in the image."""
    attempts, (down, right) = uniform[:-2], tf.unstack(uniform[-2:])
    if augmentation.plain:
        height = width = _plain_crop_side(shape, augmentation)
    else:
        height, width = _crop_size(shape, tf.reshape(attempts, [2, -1]), augmentation)
    top = tf.cast(down * tf.cast(shape[0] - height + 1, tf.float32), tf.int32)
    left = tf.cast(right * tf.cast(shape[1] - width + 1, tf.float32), tf.int32)
    return tf.stack([top, left, height, width])


def _plain_crop_side(shape: tf.Tensor, augmentation: Augmentation) -> tf.Tensor:
    """Returns what becomes `image_size` when the short side becomes `short_side`."""
    share = augmentation.image_size / augmentation.short_side
    short_side = tf.cast(tf.reduce_min(shape[:2]), tf.float32)
    return tf.maximum(tf.cast(tf.round(short_side * share), tf.int32), 1)


def _crop_size(
    shape: tf.Tensor, attempts: tf.Tensor, augmentation: Augmentation
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns height and width of a random crop, as torchvision draws them.

    Area and logarithm of the ratio are uniform; the first of ten attempts that fits
    into the image is taken, else the largest crop of an allowed ratio.
    """
    height, width = tf.unstack(tf.cast(shape[:2], tf.float32))
    share = augmentation.min_area + (1 - augmentation.min_area) * attempts[0]
    ratio = tf.exp(_LOG_RATIO * (2 * attempts[1] - 1))
    heights = tf.round(tf.sqrt(height * width * share / ratio))
    widths = tf.round(tf.sqrt(height * width * share * ratio))
    largest = math.exp(_LOG_RATIO)
    heights = tf.concat([heights, [tf.minimum(height, tf.floor(width * largest))]], 0)
    widths = tf.concat([widths, [tf.minimum(width, tf.floor(height * largest))]], 0)
    fits = (heights >= 1) & (widths >= 1) & (heights <= height) & (widths <= width)
    first = tf.argmax(fits)
    return tf.cast(heights[first], tf.int32), tf.cast(widths[first], tf.int32)


def _crop_of_resized(crop: tf.Tensor, shape: tf.Tensor, short_side: int) -> tf.Tensor:
    """Shrinks a crop to what it is in the image whose short side is `short_side`.

    In an image that is not larger it stays: enlarging loses nothing that a later resize
    would miss.

    Args:
        crop: `[height, width, 3]` uint8.
        shape: `[3]` int32 of the whole image.
        short_side: In pixels.
    """
    side = tf.reduce_min(shape[:2])

    def shrunk() -> tf.Tensor:
        exact = tf.shape(crop)[:2] * short_side / side
        size = tf.maximum(tf.cast(tf.round(exact), tf.int32), 1)
        resized = tf.image.resize(crop, size, antialias=True)
        return tf.cast(tf.round(resized), tf.uint8)  # whole levels, as in Pillow

    return tf.cond(side > short_side, shrunk, lambda: crop)


def _resize(image: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Resizes bilinearly, with antialiasing where an image gets smaller.

    Where none of its sides does the two are the same, and without is 3 times faster.
    """
    return tf.cond(
        tf.reduce_all(size >= tf.shape(image)[:2]),
        lambda: tf.image.resize(image, size),
        lambda: tf.image.resize(image, size, antialias=True),
    )


def _decode_other(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes PNG, BMP, or GIF of one frame, as `[height, width, 3]` uint8."""
    return tf.cond(
        tf.strings.substr(encoded, 0, 3) == b"GIF",
        lambda: _only_frame(encoded),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )


def _only_frame(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a GIF; an animation is no photograph, and no frame of it is the one."""
    frames = tf.io.decode_gif(encoded)
    single = tf.debugging.Assert(tf.shape(frames)[0] == 1, ["animated GIF"])
    with tf.control_dependencies([single]):
        return tf.identity(frames[0])
