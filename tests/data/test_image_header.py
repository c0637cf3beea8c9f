"""Sizes in headers against Pillow's files, and headers that lie."""

import struct

import pytest
import tensorflow as tf
from conftest import encoded, picture

from ms_keras.data.image_header import declared_size

in_graph = tf.function(declared_size, input_signature=[tf.TensorSpec([], tf.string)])


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (700, 3), (259, 261)])
@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "JPEG", {}),
        ("RGB", "JPEG", {"progressive": True}),
        ("L", "JPEG", {}),
        ("CMYK", "JPEG", {}),
        ("RGBA", "PNG", {}),
        ("RGB", "BMP", {}),
    ],
)
def test_it_is_height_and_width(size, mode, kind, options):
    data = encoded(picture(0, size).convert(mode), kind, **options)
    assert in_graph(data).numpy().tolist() == [size[1], size[0]]


def png_header(width, height):
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height)


def bmp_header(width, height):
    return b"BM" + bytes(16) + struct.pack("<ii", width, height)


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (png_header(60_000, 50_000), [50_000, 60_000]),
        (png_header(0, 7), [7, 0]),
        (bmp_header(50_000, 40_000), [40_000, 50_000]),
    ],
)
def test_it_needs_no_more_than_the_header(data, size):
    assert in_graph(data).numpy().tolist() == size


@pytest.mark.parametrize("make", [png_header, bmp_header])
@pytest.mark.parametrize("size", [(2**31 - 1, 2**31 - 1), (2**31 - 1, 3), (-1, -1)])
def test_gigapixels_do_not_overflow(make, size):
    width, height = (side % 2**32 if make is png_header else side for side in size)
    assert int(tf.reduce_prod(in_graph(make(width, height)))) > 10**9


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"G", b"BM", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 "),
        # Its screen has a size, but its decoder may ask for any.
        encoded(picture(0).convert("P"), "GIF"),
        # A header is looked for behind this chunk, and may declare another size.
        png_header(1, 1).replace(b"IHDR", b"teXt"),
    ],
)
def test_what_declares_no_size_has_none(data):
    assert in_graph(data).numpy().tolist() == [0, 0]


@pytest.mark.parametrize("end", [3, 20, 100])
def test_a_jpeg_cut_before_its_size_is_an_error(end):
    with pytest.raises(tf.errors.InvalidArgumentError):
        in_graph(encoded(picture(0))[:end])
