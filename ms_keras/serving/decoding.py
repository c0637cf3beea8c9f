"""Encoded images that strangers send: decoded as in scoring, or told apart."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from ms_keras.data.image_header import MAX_PIXELS, declared_size
from ms_keras.data.images import decode_for_scoring

# Of an image whose short side is resized, before its centre is cut out: 12 bytes each.
# At a short side of 256, one that is 122 times as long as it is wide has as many.
MAX_RESIZED_PIXELS = 8_000_000
_AT_ONCE = 16  # images; a server has more cores than a request has images, or fewer
# Of all images that are decoded at once, or of a larger one alone: at most half a
# gigabyte, as measured with progressive JPEGs, which take 10 bytes per pixel.
_PIXELS_AT_ONCE = 50_000_000
_RESIZED_COUNT_AS = 4  # 12 bytes per pixel, and twice that on the way


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

    Not readable are files that are no JPEG, PNG or BMP, are cut short or damaged,
    declare more pixels than the limit, or are so long and narrow that they would have
    more than `MAX_RESIZED_PIXELS` when the short side is resized (or than four squares
    of it, if that is more). Sizes are seen before anything is decoded. A GIF is not
    read: what its decoder asks memory for cannot be seen before.

    As many images are decoded at once as have 50 million pixels together, where those
    of the resized image count fourfold, and 16 at most. Ops of TensorFlow alone, so
    that a server can run them.

    Args:
        image_bytes: `[batch]` strings, the contents of image files.
        image_size: Height and width of the result, in pixels.
        short_side: What short sides are resized to before the centre crop, in pixels.
        max_pixels: Most pixels of an image, width times height. Defaults to
            50 million.
    """
    shape = (image_size, image_size, 3)
    count = tf.size(image_bytes, out_type=tf.int64)
    allowed, memory = _allowed(image_bytes, short_side, max_pixels)
    largest = tf.maximum(tf.reduce_max(memory), 1)

    def decode(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return index, decode_for_scoring(image_bytes[index], image_size, short_side)

    indices, images = _without_errors(
        tf.data.Dataset.from_tensor_slices(allowed).map(
            decode,
            num_parallel_calls=tf.clip_by_value(
                _PIXELS_AT_ONCE // largest, 1, _AT_ONCE
            ),
        ),
        (count, tf.zeros(shape)),
    )
    ones = tf.ones_like(indices, tf.int32)
    places = indices[:, tf.newaxis]
    return Decoded(
        tf.ensure_shape(tf.scatter_nd(places, images, [count, *shape]), [None, *shape]),
        tf.scatter_nd(places, ones, [count]) > 0,
    )


def why_unreadable(content: bytes, max_pixels: int = MAX_PIXELS) -> str:
    """Returns what may be wrong with an image that was not readable, in words.

    Args:
        content: The image file.
        max_pixels: The limit that `decode_readable` had.
    """
    if content.startswith(b"GIF"):
        return "a GIF, which servers do not read; save it as PNG"
    return (
        f"missing, truncated, not an image, of more than {max_pixels} pixels, or too "
        "long and narrow"
    )


def _allowed(
    image_bytes: tf.Tensor, short_side: int, max_pixels: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns which images are small enough, by what their headers declare.

    Returns:
        `[some]` int64 places in the batch, and the memory that decoding each needs,
        counted in pixels.
    """
    count = tf.size(image_bytes, out_type=tf.int64)

    def measure(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return index, declared_size(image_bytes[index])

    places, sizes = _without_errors(  # headers may be malformed
        tf.data.Dataset.range(count).map(measure), (count, tf.zeros([2], tf.int64))
    )
    sides = tf.maximum(tf.reduce_min(sizes, axis=1, keepdims=True), 1)
    pixels = tf.reduce_prod(sizes, axis=1)  # int64: products do not overflow
    resized = tf.reduce_prod(sizes * short_side // sides, axis=1)
    most_resized = max(MAX_RESIZED_PIXELS, 4 * short_side**2)
    allowed = (pixels > 0) & (pixels <= max_pixels) & (resized <= most_resized)
    memory = pixels + _RESIZED_COUNT_AS * resized
    return places[allowed], memory[allowed]


def _without_errors(
    dataset: tf.data.Dataset, nothing: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the elements of a data set but those that raise, each part as a tensor.

    No op of a graph catches errors but a data set's. A pass over it by `reduce` or with
    `filter` took 40 ms at each request, however small; this takes 1.

    Args:
        dataset: Elements of two parts.
        nothing: An element, of the largest place that any has; for there must be one.
    """
    last = tf.data.Dataset.from_tensors(nothing)
    first, second = (
        dataset.ignore_errors()
        .concatenate(last)
        .batch(nothing[0] + 1)
        .get_single_element()
    )
    return first[:-1], second[:-1]


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
        f"{max_pixels} pixels, or is too long and narrow to be resized. GIF is not "
        "read. Send it mended or leave it out; embed_bytes_safe embeds the others and "
        "tells which it could not read.",
        (bad, count),
    )
    readable = tf.debugging.Assert(tf.reduce_all(decoded.readable), [message])
    with tf.control_dependencies([readable]):
        return tf.identity(decoded.images)
