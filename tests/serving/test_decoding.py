"""Batches of which some images are broken, huge, or no images at all."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ms_keras.data.images import decode_for_scoring
from ms_keras.serving import decoding
from ms_keras.serving.decoding import (
    MAX_RESIZED_PIXELS,
    Decoded,
    decode_readable,
    require_readable,
    why_unreadable,
)

SIZE, SHORT_SIDE = 24, 28
BATCH = tf.TensorSpec([None], tf.string, name="image_bytes")


def file_of(kind, size=(41, 33), seed=0, **options):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def animation():
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def chunk(name, content):
    ending = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + ending


def bomb(width, height, before=b"", rows=1):
    """Returns a PNG file of a few grey rows that claims to have many."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    content = chunk(b"IDAT", zlib.compress(bytes((width + 1) * rows)))
    return b"\x89PNG\r\n\x1a\n" + before + header + content + chunk(b"IEND", b"")


def smuggled(width, height):
    """Returns a PNG file with another header, of a tiny image, where one looks."""
    other = chunk(b"teXt", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return bomb(width, height, other)


def wide_gif():
    """Returns a GIF whose screen has a pixel, and whose frame has many."""
    gif = bytearray(file_of("GIF", (300, 200)))
    gif[6:10] = struct.pack("<HH", 1, 1)
    return bytes(gif)


JPEG, PNG = file_of("JPEG", (200, 150)), file_of("PNG", seed=1)
GOOD = {
    "JPEG": JPEG,
    "progressive JPEG": file_of("JPEG", progressive=True),
    "PNG": PNG,
    "BMP": file_of("BMP"),
    "one pixel": file_of("PNG", (1, 1)),
    "long": file_of("PNG", (300, 2)),
}
BAD = {
    "nothing": b"",
    "one byte": b"\xff",
    "text": b"this is no image",
    "start of a JPEG": JPEG[:3],
    "half a JPEG": JPEG[: len(JPEG) // 2],
    "most of a JPEG": JPEG[:-400],
    "header of a PNG": PNG[:40],
    "half a PNG": PNG[: len(PNG) // 2],
    "damaged PNG": PNG[:100] + bytes(60) + PNG[160:],
    "WebP": file_of("WEBP"),
    "TIFF": file_of("TIFF"),
    "GIF": file_of("GIF"),
    "GIF of a small screen": wide_gif(),
    "animation": animation(),
    "gigapixels": bomb(60_000, 60_000),
    "overflow": bomb(2**31 - 1, 2**31 - 1),
    "gigapixels behind another chunk": smuggled(60_000, 60_000),
    "a line": bomb(1, 20_000, rows=20_000),
    "no width": bomb(0, 10),
    "huge JPEG": JPEG.replace(struct.pack(">HH", 150, 200), b"\xff\xff\xff\xff"),
    "huge GIF": b"GIF89a\xff\xff\xff\xff" + file_of("GIF")[10:],
    "zeros": bytes(500),
}


@pytest.fixture(scope="module")
def decode(tmp_path_factory):
    """The function as a server runs it: saved and loaded."""
    module = tf.Module()
    module.decode = tf.function(
        lambda image_bytes: decode_readable(image_bytes, SIZE, SHORT_SIDE)._asdict(),
        input_signature=[BATCH],
    )
    folder = str(tmp_path_factory.mktemp("saved") / "1")
    tf.saved_model.save(module, folder, signatures={"decode": module.decode})
    return tf.saved_model.load(folder).signatures["decode"]


def expected_rows(files):
    rows = [decode_for_scoring(file, SIZE, SHORT_SIDE).numpy() for file in files]
    return np.stack(rows)


def test_readable_images_are_decoded_as_in_scoring_in_their_order(decode):
    files = list(GOOD.values()) * 5
    decoded = decode(image_bytes=tf.constant(files))
    assert decoded["readable"].numpy().all()
    np.testing.assert_array_equal(decoded["images"], expected_rows(files))


@pytest.mark.parametrize("name", BAD)
def test_an_unreadable_image_is_told_and_leaves_the_others_alone(decode, name):
    files = [JPEG, BAD[name], PNG]
    decoded = decode(image_bytes=tf.constant(files))
    assert decoded["readable"].numpy().tolist() == [True, False, True]
    images = decoded["images"].numpy()
    assert not images[1].any()
    np.testing.assert_array_equal(images[[0, 2]], expected_rows([JPEG, PNG]))


def test_any_mixture_is_told_apart(decode):
    rng = np.random.default_rng(0)
    for _ in range(5):
        good = rng.random(37) < 0.5
        kinds = [list((GOOD if g else BAD).values()) for g in good]
        files = [files[rng.integers(len(files))] for files in kinds]
        decoded = decode(image_bytes=tf.constant(files))
        np.testing.assert_array_equal(decoded["readable"], good)
        some = [file for file, g in zip(files, good, strict=True) if g]
        np.testing.assert_array_equal(
            decoded["images"].numpy()[good], expected_rows(some)
        )


def line(length):
    """Returns a PNG file of one grey column."""
    return bomb(1, length, rows=length)


def test_an_image_may_have_so_many_pixels_when_it_is_resized():
    # A column of one pixel becomes short_side times as wide, and as long.
    short_side = 200
    longest = MAX_RESIZED_PIXELS // short_side**2
    files = tf.constant([line(longest), line(longest + 1), JPEG, line(5000)])
    decoded = decode_readable(files, 8, short_side)
    assert decoded.readable.numpy().tolist() == [True, False, True, False]


def test_squares_are_resized_to_any_short_side(monkeypatch):
    monkeypatch.setattr(decoding, "MAX_RESIZED_PIXELS", 100)
    files = tf.constant([file_of("PNG", (30, 30)), line(5)])
    decoded = decode_readable(files, 24, 28)
    assert decoded.readable.numpy().tolist() == [True, False]


def test_few_large_images_are_decoded_at_once(monkeypatch):
    at_once = []
    parallel = tf.data.Dataset.map

    def seen(dataset, function, num_parallel_calls=None, **options):
        if num_parallel_calls is not None:
            at_once.append(int(num_parallel_calls))
        return parallel(dataset, function, num_parallel_calls, **options)

    monkeypatch.setattr(tf.data.Dataset, "map", seen)
    monkeypatch.setattr(decoding, "_PIXELS_AT_ONCE", 3 * 40_000)
    for files in (
        [PNG] * 3,
        [PNG, JPEG, PNG],
        [JPEG] * 40,
        [file_of("PNG", (500, 900))],
    ):
        decode_readable(tf.constant(files), SIZE, SHORT_SIDE)
    resized = 28 * 37  # of JPEG's 200 x 150; 28 * 34 of PNG's 41 x 33
    few = 3 * 40_000 // (200 * 150 + 4 * resized)
    assert at_once == [16, few, few, 1]


def test_batches_of_none_and_of_one(decode):
    decoded = decode(image_bytes=tf.constant([], tf.string))
    assert decoded["images"].shape == (0, SIZE, SIZE, 3)
    assert decoded["readable"].shape == (0,)
    assert decode(image_bytes=tf.constant([PNG]))["readable"].numpy().tolist() == [True]
    alone = decode(image_bytes=tf.constant([b""]))
    assert alone["readable"].numpy().tolist() == [False]
    assert not alone["images"].numpy().any()


def test_the_limit_counts_pixels_and_is_inclusive():
    files = [file_of(kind, (20, 30)) for kind in ("JPEG", "PNG", "BMP")]
    files += [file_of(kind, (601, 1)) for kind in ("JPEG", "PNG", "BMP")]
    decoded = decode_readable(tf.constant(files), 8, 8, max_pixels=600)
    assert decoded.readable.numpy().tolist() == [True] * 3 + [False] * 3


def test_the_graph_has_ops_of_tensorflow_alone(decode):
    graph = decode.graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    assert not [node.op for node in nodes if "PyFunc" in node.op]


def decoded_as(readable):
    images = np.arange(len(readable), dtype="f4")[:, None, None, None]
    return Decoded(
        tf.constant(np.tile(images, (1, 2, 2, 3))), tf.constant(readable, tf.bool)
    )


@pytest.mark.parametrize("count", [0, 1, 3])
def test_images_that_are_all_readable_go_through(count):
    decoded = decoded_as([True] * count)
    np.testing.assert_array_equal(require_readable(decoded), decoded.images)


@pytest.mark.parametrize(
    ("readable", "message"),
    [
        ([False], r"image_bytes\[0\] of 1 is not a readable JPEG or PNG"),
        ([True, True, False, False], r"image_bytes\[2\] of 4 .* 50000000 pixels"),
        ([True] * 9 + [False], r"image_bytes\[9\] of 10 .* embed_bytes_safe"),
        ([False], r"too long and narrow.* GIF is not read"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda function: function, tf.function])
def test_the_first_unreadable_image_is_named(readable, message, wrap):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        wrap(lambda: require_readable(decoded_as(readable)))()


def test_why_an_image_is_not_readable_is_told_as_far_as_one_can():
    assert "GIF" in why_unreadable(file_of("GIF"))
    assert "of more than 9 pixels" in why_unreadable(b"", 9)
