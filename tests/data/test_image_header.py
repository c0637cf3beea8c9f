"""Sizes in headers against Pillow's files, and headers that lie."""

import struct

import pytest
import tensorflow as tf
from conftest import encoded, picture

from ms_keras.data.image_header import declared_pixels

in_graph = tf.function(declared_pixels, input_signature=[tf.TensorSpec([], tf.string)])


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (700, 3), (259, 261)])
@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "JPEG", {}),
        ("RGB", "JPEG", {"progressive": True}),
        ("L", "JPEG", {}),
        ("CMYK", "JPEG", {}),
        ("RGBA", "PNG", {}),
        ("P", "GIF", {}),
        ("RGB", "BMP", {}),
    ],
)
def test_pixels_are_width_times_height(size, mode, kind, options):
    data = encoded(picture(0, size).convert(mode), kind, **options)
    assert int(in_graph(data)) == size[0] * size[1]


def png_header(width, height):
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height)


def bmp_header(width, height):
    return b"BM" + bytes(16) + struct.pack("<ii", width, height)


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (png_header(60_000, 60_000), 3_600_000_000),
        (png_header(0, 7), 0),
        (b"GIF89a" + struct.pack("<HH", 65_535, 65_535), 65_535**2),
        (bmp_header(50_000, 50_000), 2_500_000_000),
    ],
)
def test_it_needs_no_more_than_the_header(data, pixels):
    assert int(in_graph(data)) == pixels


@pytest.mark.parametrize("make", [png_header, bmp_header])
@pytest.mark.parametrize("size", [(2**31 - 1, 2**31 - 1), (2**31 - 1, 3), (-1, -1)])
def test_gigapixels_do_not_overflow(make, size):
    width, height = (side % 2**32 if make is png_header else side for side in size)
    assert int(in_graph(make(width, height))) > 10**9


@pytest.mark.parametrize(
    "data", [b"", b"G", b"BM", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 "]
)
def test_what_has_no_size_has_no_pixels(data):
    assert int(in_graph(data)) == 0


@pytest.mark.parametrize("end", [3, 20, 100])
def test_a_jpeg_cut_before_its_size_is_an_error(end):
    with pytest.raises(tf.errors.InvalidArgumentError):
        in_graph(encoded(picture(0))[:end])
