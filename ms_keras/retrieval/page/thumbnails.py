"""Small JPEGs of the images that the page shows."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tqdm

from ms_keras.data.images import decode_for_scoring
from ms_keras.data.protocol import ImageSet

PIXELS = 112  # height and width; tiles are up to 96 wide, the enlarged view doubles it
_QUALITY = 78


def thumbnails(images: ImageSet, indices: np.ndarray, what: str) -> Iterator[bytes]:
    """Yields a JPEG per image, square as the tower sees it, with a progress bar.

    Args:
        images: The images.
        indices: `[n]` which of them, in this order.
        what: The bar's label.

    Yields:
        The JPEG file; empty for an image that cannot be read (any more).
    """
    read = iter(_encoded(images, indices))
    bar = tqdm.tqdm(
        total=len(indices),
        desc=f"thumbnails of {what}",
        unit="image",
        leave=False,
        mininterval=0.5 if sys.stderr.isatty() else 10,
    )
    with bar:
        place, jpeg = next(read, (None, b""))
        for expected in range(len(indices)):
            bar.update()
            if place != expected:
                yield b""
                continue
            yield jpeg
            place, jpeg = next(read, (None, b""))


def _encoded(images: ImageSet, indices: np.ndarray) -> Iterator[tuple[int, bytes]]:
    """Yields the readable ones, each with its place in `indices`."""

    def encode(place: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = decode_for_scoring(images.read(index), PIXELS, PIXELS)
        rounded = tf.cast(tf.clip_by_value(tf.round(pixels), 0, 255), tf.uint8)
        return place, tf.io.encode_jpeg(rounded, quality=_QUALITY, optimize_size=True)

    places = np.arange(len(indices))
    dataset = (
        tf.data.Dataset.from_tensor_slices((places, indices.astype(np.int64)))
        .map(encode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .ignore_errors()
        .prefetch(tf.data.AUTOTUNE)
    )
    for place, jpeg in dataset.as_numpy_iterator():
        yield int(place), jpeg
