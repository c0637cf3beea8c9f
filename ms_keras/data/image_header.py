"""What an image file says of its size, before anything is decoded."""

from __future__ import annotations

import tensorflow as tf

MAX_PIXELS = 50_000_000
_LONGEST_HEADER = 26  # bytes, of BMP


def declared_pixels(encoded: tf.Tensor) -> tf.Tensor:
    """Reads width times height from the header of an image file.

    A file of a few kilobytes may declare gigapixels, for which a decoder would then ask
    memory.

    Args:
        encoded: Scalar string, a JPEG, PNG, GIF or BMP file.

    Returns:
        Scalar int64; 0 for files of other formats, or shorter than their header.

    Raises:
        tf.errors.InvalidArgumentError: If the header of a JPEG file is malformed.
    """
    start = tf.io.decode_raw(tf.strings.substr(encoded, 0, _LONGEST_HEADER), tf.uint8)
    start = tf.concat([start, tf.zeros([_LONGEST_HEADER], tf.uint8)], axis=0)
    start = tf.cast(start, tf.int64)

    def of_jpeg() -> tf.Tensor:
        height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(encoded, tf.int64))
        return height * width

    def of_png() -> tf.Tensor:
        return _number(start, range(19, 15, -1)) * _number(start, range(23, 19, -1))

    def of_gif() -> tf.Tensor:
        return _number(start, range(6, 8)) * _number(start, range(8, 10))

    def of_bmp() -> tf.Tensor:
        # A negative height, stored from top to bottom, is beyond any limit here.
        height = _number(start, range(22, 26))
        return _number(start, range(18, 22)) * height

    def begins_with(magic: bytes) -> tf.Tensor:
        return tf.strings.substr(encoded, 0, len(magic)) == magic

    return tf.case(
        [
            (tf.io.is_jpeg(encoded), of_jpeg),
            (begins_with(b"\x89PNG"), of_png),
            (begins_with(b"GIF8"), of_gif),
            (begins_with(b"BM"), of_bmp),
        ],
        default=lambda: tf.constant(0, tf.int64),
    )


def _number(start: tf.Tensor, places: range) -> tf.Tensor:
    """Returns the number whose bytes are at these places, the least one first.

    No more than 2**31, which no image reaches: products must not overflow.
    """
    parts = [start[place] * (1 << 8 * power) for power, place in enumerate(places)]
    return tf.minimum(tf.add_n(parts), 1 << 31)
