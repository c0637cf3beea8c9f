"""Encoded images that strangers send: decoded as in scoring, or told apart."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from ms_keras.data.image_header import MAX_PIXELS, declared_pixels
from ms_keras.data.images import decode_for_scoring

_AT_ONCE = 16  # images; a server has more cores than a request has images, or fewer


class Decoded(NamedTuple):
    """A batch of decoded images.

    Attributes:
        images: `[batch, size, size, 3]` float32 of 0-255; zeros where not readable.
        readable: `[batch]` bool.
    """

    images: tf.Tensor
    readable: tf.Tensor


def decode_readable(
    image_bytes: tf.Tensor,
    image_size: int,
    short_side: int,
    max_pixels: int = MAX_PIXELS,
) -> Decoded:
    """Decodes a batch; an image that cannot be read leaves the others alone.

    Not readable are files that are no JPEG, PNG, BMP or GIF of one frame, are cut short
    or damaged, or declare more pixels than the limit, which is seen before anything is
    decoded. Ops of TensorFlow alone, so that a server can run them.

    Args:
        image_bytes: `[batch]` strings, the contents of image files.
        image_size: Height and width of the result, in pixels.
        short_side: What short sides are resized to before the centre crop, in pixels.
        max_pixels: Most pixels of an image, width times height. Defaults to
            50 million.
    """
    shape = (image_size, image_size, 3)
    count = tf.size(image_bytes, out_type=tf.int64)

    def decode(index: tf.Tensor, encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = declared_pixels(encoded)
        fits = tf.debugging.Assert((pixels > 0) & (pixels <= max_pixels), [pixels])
        with tf.control_dependencies([fits]):
            encoded = tf.identity(encoded)
        return index, decode_for_scoring(encoded, image_size, short_side)

    # No op of a graph catches errors but a data set's. The last element stands for
    # none: there must be one.
    last = tf.data.Dataset.from_tensors((count, tf.zeros(shape)))
    indices, images = (
        tf.data.Dataset.from_tensor_slices((tf.range(count), image_bytes))
        .map(decode, num_parallel_calls=_AT_ONCE)
        .ignore_errors()
        .concatenate(last)
        .batch(count + 1)
        .get_single_element()
    )
    ones = tf.ones_like(indices[:-1], tf.int32)
    places = indices[:-1, tf.newaxis]
    return Decoded(
        tf.ensure_shape(
            tf.scatter_nd(places, images[:-1], [count, *shape]), [None, *shape]
        ),
        tf.scatter_nd(places, ones, [count]) > 0,
    )


def require_readable(decoded: Decoded, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Returns the images of a batch if all of them could be read.

    Args:
        decoded: What `decode_readable` returned.
        max_pixels: The limit that it had, for the message.

    Raises:
        tf.errors.InvalidArgumentError: Names the first image that could not.
    """
    count = tf.size(decoded.readable)
    # One more than there are: a batch may be empty.
    ends = tf.concat([decoded.readable, [False]], axis=0)
    bad = tf.argmin(tf.cast(ends, tf.int32), output_type=tf.int32)
    message = tf.strings.format(
        "image_bytes[{}] of {} is not a readable JPEG or PNG file of at most "
        f"{max_pixels} pixels. Send it mended or leave it out; embed_bytes_safe embeds "
        "the others and tells which it could not read.",
        (bad, count),
    )
    readable = tf.debugging.Assert(tf.reduce_all(decoded.readable), [message])
    with tf.control_dependencies([readable]):
        return tf.identity(decoded.images)
