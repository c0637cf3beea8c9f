"""Which way up a photograph is, as cameras note it in the file."""

from __future__ import annotations

import tensorflow as tf

_LONGEST_HEAD = (1 << 16) + (1 << 12)  # bytes read of a file
_LAST_BEGIN = 1 << 12  # where Exif begins at the latest
_ENTRIES, _ENTRY = 64, 12  # most entries read of a directory, and bytes of each
_ORIENTATION_TAG = 0x0112


def orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Reads the Exif orientation of an image file, in few ops of TensorFlow.

    Args:
        encoded: Scalar string, the contents of a file of any format.

    Returns:
        Scalar int32, 1 to 8 as Exif has it; 1, upright, for everything but a JPEG file
        that says otherwise. It raises nothing: what is cut or malformed counts as
        upright.
    """
    directory_bytes = 2 + _ENTRIES * _ENTRY
    head = tf.strings.substr(encoded, 0, _LONGEST_HEAD)
    parts = tf.raw_ops.StringSplitV2(input=[head], sep=b"Exif\0\0", maxsplit=1).values
    before, tiff = tf.unstack(tf.concat([parts, [b"", b""]], axis=0)[:2], num=2)
    scans = tf.raw_ops.StringSplitV2(input=[before], sep=b"\xff\xda").values
    is_exif = (
        (tf.strings.substr(before, 0, 2) == b"\xff\xd8")
        & (tf.strings.length(before) <= _LAST_BEGIN)
        & (tf.size(scans) == 1)  # what follows the image is of another one
    )
    # Padded, so that every place that the header may point to exists.
    padded = tf.strings.join([tiff, b"\0" * 2 * directory_bytes])
    tiff = tf.cast(tf.io.decode_raw(padded, tf.uint8), tf.int32)
    is_big_endian = tiff[0] == ord("M")
    factors = tf.where(is_big_endian, [256, 1], [1, 256])

    def short(pair: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(pair * factors, axis=-1)

    offset = short(tf.where(is_big_endian, tiff[6:8], tiff[4:6]))
    begin = tf.minimum(offset, tf.size(tiff) - directory_bytes)
    directory = tiff[begin : begin + directory_bytes]
    entries = tf.reshape(directory[2:], [_ENTRIES, _ENTRY])
    values = short(entries[:, 8:10])
    found = (
        (short(entries[:, :2]) == _ORIENTATION_TAG)
        & (tf.range(_ENTRIES) < short(directory[:2]))
        & (values <= 8)
    )
    value = tf.reduce_max(tf.where(found, values, 0))
    return tf.where(is_exif & (value > 0), value, 1)


def upright(image: tf.Tensor, encoded: tf.Tensor) -> tf.Tensor:
    """Turns and mirrors an image so that it is upright, as the Exif of its file says.

    Args:
        image: `[height, width, 3]` as stored, or a part of it.
        encoded: Scalar string, the contents of its file.

    Returns:
        The image; height and width are swapped for orientations of 5 and more.
    """
    # Most JPEG files tell at one place that they have no Exif: the tables follow the
    # usual header. A branch not taken costs time for each of its ops, hence few.
    plain = tf.strings.substr(encoded, 20, 2) == b"\xff\xdb"

    def turned() -> tf.Tensor:
        way = orientation(encoded)
        down, right = (
            tf.where(tf.reduce_any(way == mirrored), -1, 1)
            for mirrored in (tf.constant([3, 4, 7, 8]), tf.constant([2, 3, 6, 7]))
        )
        swapped = tf.transpose(image, tf.where(way >= 5, [1, 0, 2], [0, 1, 2]))
        return swapped[::down, ::right]

    return tf.ensure_shape(tf.cond(plain, lambda: image, turned), [None, None, 3])
