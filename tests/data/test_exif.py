"""Orientation of photographs against Pillow, and headers that are broken."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from conftest import encoded, picture
from PIL import Image, ImageOps

from ms_keras.data.exif import orientation, upright

ORIENTATIONS = range(1, 9)
JFIF = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0\1\1\0\0\1\0\1\0\0"
COMMENT = b"\xff\xfe" + struct.pack(">H", 7) + b"hello"
COLOURS = b"\xff\xe2" + struct.pack(">H", 302) + b"ICC_PROFILE\0" + b"\0" * 288

in_graph = tf.function(orientation, input_signature=[tf.TensorSpec([], tf.string)])


def read(data):
    return int(in_graph(data))


def exif_segment(value, order="<", offset=8, tags_before=(0x0100, 0x010F)):
    """Returns a segment whose first directory has the orientation, as a camera's."""
    tags = [*tags_before, 0x0112]
    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", offset)
    tiff += b"\xaa" * (offset - 8) + struct.pack(order + "H", len(tags))
    for tag in tags:
        tiff += struct.pack(
            order + "HHIHH", tag, 3, 1, value if tag == 0x0112 else 7, 0
        )
    content = b"Exif\0\0" + tiff + bytes(4)
    return b"\xff\xe1" + struct.pack(">H", 2 + len(content)) + content


def jpeg(*segments, seed=0, size=(23, 14)):
    """Returns a JPEG file that starts with these segments and no others."""
    data = encoded(picture(seed, size))
    assert data[2:4] == b"\xff\xe0"
    return data[:2] + b"".join(segments) + data[20:]


@pytest.mark.parametrize("value", ORIENTATIONS)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    "before",
    [(), (JFIF,), (COMMENT,), (JFIF, COMMENT, COLOURS)],
    ids=["alone", "after JFIF", "after a comment", "after several"],
)
def test_it_is_found_wherever_cameras_put_it(value, order, before):
    data = jpeg(*before, exif_segment(value, order))
    assert Image.open(io.BytesIO(data)).getexif()[0x0112] == value
    assert read(data) == value


@pytest.mark.parametrize("value", ORIENTATIONS)
def test_turning_is_what_pillow_does(value):
    exif = Image.Exif()
    exif[0x0112] = value
    data = encoded(picture(3, (23, 14)), "JPEG", exif=exif, subsampling=0)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    stored = tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE")
    turned = upright(stored, data).numpy()
    assert turned.shape == expected.shape
    # Decoders may round differently; a wrong turn is far off.
    assert np.abs(turned.astype(int) - expected).max() <= 3


@pytest.mark.parametrize("offset", [8, 30, 60_000])
def test_the_directory_may_be_anywhere_in_the_segment(offset):
    for order in "<>":
        data = jpeg(JFIF, exif_segment(6, order, offset))
        assert read(data) == 6


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"\xff\xd8",
        b"\xff\xd8\xff\xe1",
        b"\xff\xd8" + JFIF,
        jpeg(),
        jpeg(JFIF),
        jpeg(COLOURS),
        jpeg(JFIF, exif_segment(0)),
        jpeg(JFIF, exif_segment(9)),
        jpeg(JFIF, exif_segment(0x0600)),
        jpeg(b"\xff\xe1" + struct.pack(">H", 9) + b"http://"),
        jpeg(b"\xff\xe1" + struct.pack(">H", 8) + b"Exif\0\0"),
        jpeg() + exif_segment(6),  # of a second picture
        encoded(picture(0), "PNG"),
        encoded(picture(0), "BMP"),
        encoded(picture(0), "GIF"),
        b"\xff\xe1Exif\0\0 but no image at all",
    ],
)
def test_what_does_not_say_otherwise_is_upright(data):
    assert read(data) == 1


def test_a_second_exif_after_another_applications_segment_is_found():
    other = b"\xff\xe1" + struct.pack(">H", 31) + b"http://ns.adobe.com/xap/1.0/\0"
    assert read(jpeg(JFIF, other, exif_segment(8))) == 8


def test_no_broken_header_raises():
    rng = np.random.default_rng(0)
    valid = [
        jpeg(*before, exif_segment(value, order))[:300]
        for before in ((), (JFIF,), (JFIF, COMMENT))
        for value, order in ((6, "<"), (3, ">"))
    ]
    seen = set()
    for number in range(600):
        data = bytearray(valid[number % len(valid)])
        for place in rng.integers(0, 110, rng.integers(0, 6)):
            data[place] = rng.choice([0, 1, 0xFF, rng.integers(256)])
        if number % 2:
            data = data[: rng.integers(0, 140)]
        seen.add(read(bytes(data)))
    assert seen <= set(ORIENTATIONS)
    assert {1, 3, 6} <= seen


def test_lengths_of_nothing_end():
    empty = b"\xff\xe5" + struct.pack(">H", 0)
    assert read(b"\xff\xd8" + empty * 500) == 1


def test_it_runs_in_data_sets():
    files = [jpeg(JFIF, exif_segment(value)) for value in ORIENTATIONS] + [b"", jpeg()]
    dataset = tf.data.Dataset.from_tensor_slices(files).map(
        lambda data: orientation(data), num_parallel_calls=2
    )
    assert [int(value) for value in dataset] == [*ORIENTATIONS, 1, 1]
