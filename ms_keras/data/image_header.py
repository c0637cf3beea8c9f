"""What an image file says of its size, before anything is decoded."""

from __future__ import annotations

import tensorflow as tf

MAX_PIXELS = 50_000_000
_LONGEST_HEADER = 26  # bytes, of BMP


def declared_size(encoded: tf.Tensor) -> tf.Tensor:
    """Reads height and width from the header of an image file.

    A file of a few kilobytes may declare gigapixels, for which a decoder would then ask
    memory. A GIF's header does not tell what it will ask for: its decoder holds all
    frames at once, each as large as the largest, whatever the screen's size is.

    Args:
        encoded: Scalar string, a JPEG, PNG or BMP file.

    Returns:
        `[2]` int64, height and width as stored, each 2**31 at most; zeros for files of
        other formats, GIF among them, or shorter than their header.

    Raises:
        tf.errors.InvalidArgumentError: If the header of a JPEG file is malformed.
    """
    head = tf.strings.substr(encoded, 0, _LONGEST_HEADER)
    head = tf.strings.join([head, b"\0" * _LONGEST_HEADER])
    start = tf.cast(tf.io.decode_raw(head, tf.uint8), tf.int64)

    def of_jpeg() -> tf.Tensor:
        height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(encoded, tf.int64))
        return tf.stack([height, width])

    def of_png() -> tf.Tensor:
        height = _number(start, range(23, 19, -1))
        return tf.stack([height, _number(start, range(19, 15, -1))])

    def of_bmp() -> tf.Tensor:
        # A negative height, stored from top to bottom, is beyond any limit here.
        height = _number(start, range(22, 26))
        return tf.stack([height, _number(start, range(18, 22))])

    def has(magic: bytes, place: int = 0) -> tf.Tensor:
        return tf.strings.substr(head, place, len(magic)) == magic

    return tf.case(
        [
            (tf.io.is_jpeg(encoded), of_jpeg),
            # Decoders pass over chunks that they do not know, and take the size from
            # the header behind them: it must come first, where we read it.
            (has(b"\x89PNG") & has(b"IHDR", 12), of_png),
            (has(b"BM"), of_bmp),
        ],
        default=lambda: tf.zeros([2], tf.int64),
    )


def _number(start: tf.Tensor, places: range) -> tf.Tensor:
    """Returns the number whose bytes are at these places, the least one first.

    No more than 2**31, which no image reaches: products must not overflow.
    """
    parts = [start[place] * (1 << 8 * power) for power, place in enumerate(places)]
    return tf.minimum(tf.add_n(parts), 1 << 31)
