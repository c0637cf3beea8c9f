"""Embeddings of a run in TensorBoard's projector, as TensorBoard serves them."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ms_keras.data.protocol import ImageSet
from ms_keras.training import projector
from ms_keras.training.projector import sample_images, write_projector

RNG = np.random.default_rng(0)
NAMES = ("crème brûlée", "tab\tand\nline", "42")
SIDE = 48


def png(colour, other):
    """A picture wider than high, its left half of one colour, its right of another."""
    pixels = np.empty((40, 60, 3), np.uint8)
    pixels[:, :30], pixels[:, 30:] = colour, other
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def image_set(labels, broken=()):
    colours = RNG.integers(0, 256, (len(labels), 2, 3))
    files = [b"" if i in broken else png(*c) for i, c in enumerate(colours)]
    table = tf.constant(files)
    images = ImageSet(
        labels=np.asarray(labels, np.int64),
        class_names=NAMES,
        read=lambda index: table[index],
        image_name=lambda index: f"folder/image\t{index}.png",
    )
    return images, colours


def an_event(directory):
    """A run is one for TensorBoard only if it has an event file."""
    with tf.summary.create_file_writer(str(directory)).as_default(step=0):
        tf.summary.scalar("loss", 1.0)


class Served:
    """What TensorBoard's projector shows of a run."""

    def __init__(self, browser, run, name):
        assert run in browser.json("projector/runs")
        config = browser.json("projector/info", run=run)
        (info,) = [e for e in config["embeddings"] if e["tensorName"] == name]
        self.names = [e["tensorName"] for e in config["embeddings"]]
        self.thumbnail = info["sprite"]["singleImageDim"]
        asked = {"run": run, "name": name}
        floats, _ = browser.get("projector/tensor", **asked, num_rows=100_000)
        self.rows = np.frombuffer(floats, "f4").reshape(info["tensorShape"])
        text = browser.get("projector/metadata", **asked)[0].decode("utf-8")
        assert text.endswith("\n")
        self.header, *self.points = (line.split("\t") for line in text[:-1].split("\n"))
        sprite, self.kind = browser.get("projector/sprite_image", **asked)
        self.sprite = np.asarray(Image.open(io.BytesIO(sprite))).astype(int)

    def tile(self, place):
        """The thumbnail where the projector looks for it: row by row."""
        down, across = divmod(place, self.sprite.shape[1] // SIDE)
        return self.sprite[
            down * SIDE : (down + 1) * SIDE, across * SIDE : (across + 1) * SIDE
        ]


def test_tensorboard_serves_rows_names_and_thumbnails_of_the_same_images(
    tmp_path, tensorboard
):
    events = tmp_path / "run" / "events"
    images, colours = image_set([0, 0, 1, 1, 2, 2, 2], broken=[4])
    indices = np.array([5, 0, 4, 2, 6])
    rows = RNG.normal(size=(5, 3)).astype("f4")
    an_event(events)
    write_projector(events, rows, images, indices)
    served = Served(tensorboard(tmp_path), "run/events", "test")
    np.testing.assert_allclose(served.rows, rows, rtol=1e-5)
    assert served.header == ["class", "image", "class number"]
    assert served.points == [
        ["42", "folder/image 5.png", "2"],
        ["crème brûlée", "folder/image 0.png", "0"],
        ["42", "folder/image 4.png", "2"],
        ["tab and line", "folder/image 2.png", "1"],
        ["42", "folder/image 6.png", "2"],
    ]
    assert served.thumbnail == [SIDE, SIDE]
    assert served.kind == "image/jpeg"
    assert served.sprite.shape == (3 * SIDE, 3 * SIDE, 3)
    for place, index in enumerate(indices):
        tile = served.tile(place)
        left, right = tile[4:-4, 4:16], tile[4:-4, -16:-4]
        for half, colour in zip((left, right), colours[index], strict=True):
            expected = [208, 208, 208] if index == 4 else colour
            np.testing.assert_allclose(half.mean((0, 1)), expected, atol=6)


@pytest.mark.parametrize(
    "rows",
    [np.zeros((4, 2)), np.full((4, 2), 1e-30), np.ones((4, 2), "f2"), np.eye(4)[:, :1]],
    ids=["zeros", "tiny", "float16", "one_dim"],
)
def test_rows_are_served_whatever_their_bytes_look_like(tmp_path, tensorboard, rows):
    images, _ = image_set([0, 0, 1, 1])
    write_projector(str(tmp_path), rows, images, np.arange(4))
    served = Served(tensorboard(tmp_path), ".", "test")
    np.testing.assert_allclose(served.rows, rows.astype("f4"), rtol=1e-5)


def test_one_image_is_enough(tmp_path, tensorboard):
    images, _ = image_set([1])
    write_projector(tmp_path, np.ones((1, 2)), images, np.array([0]))
    served = Served(tensorboard(tmp_path), ".", "test")
    assert served.points == [["tab and line", "folder/image 0.png", "1"]]
    assert served.sprite.shape == (SIDE, SIDE, 3)


def test_of_many_images_a_sample_is_shown_rows_and_names_together(
    tmp_path, tensorboard, monkeypatch
):
    monkeypatch.setattr(projector, "_IMAGES", 20)
    labels = RNG.integers(0, 3, 90)
    images, _ = image_set(labels)
    indices = RNG.permutation(90)[:70]
    write_projector(tmp_path, np.stack([indices, labels[indices]], 1), images, indices)
    served = Served(tensorboard(tmp_path), ".", "test")
    assert len(served.rows) == len(served.points) == 20
    assert served.sprite.shape[0] == 5 * SIDE  # 5 x 5 hold 20
    for (index, label), (_, name, number) in zip(
        served.rows, served.points, strict=True
    ):
        assert name == f"folder/image {index:.0f}.png"
        assert number == f"{label:.0f}"


def test_writing_again_replaces_and_other_names_stay(tmp_path, tensorboard):
    images, _ = image_set([0, 0, 1, 1])
    two, three, one = np.eye(4)[:2], np.eye(4)[:3], np.eye(4)[:1]
    write_projector(tmp_path, two, images, np.arange(2))
    write_projector(tmp_path, three, images, np.arange(3), name="gallery")
    (tmp_path / "projector-0123456789ab").mkdir()  # as a killed program leaves it
    write_projector(tmp_path, one, images, np.arange(1))
    browser = tensorboard(tmp_path)
    served = Served(browser, ".", "test")
    assert sorted(served.names) == ["gallery", "test"]
    np.testing.assert_array_equal(served.rows, one)
    np.testing.assert_array_equal(Served(browser, ".", "gallery").rows, three)
    assert len(list(tmp_path.glob("projector-*"))) == 2


def test_a_run_that_was_moved_is_served_whole(tmp_path, tensorboard):
    images, _ = image_set([0, 1])
    write_projector(tmp_path / "here", np.eye(2), images, np.arange(2))
    (tmp_path / "here").rename(tmp_path / "there")
    served = Served(tensorboard(tmp_path / "there"), ".", "test")
    np.testing.assert_array_equal(served.rows, np.eye(2))


def test_failing_half_way_leaves_what_was_there(tmp_path, tensorboard):
    images, _ = image_set([0, 1])

    def unreachable(index):
        raise OSError("the disk is gone")

    broken = ImageSet(images.labels, NAMES, images.read, unreachable)
    with pytest.raises(OSError, match="the disk is gone"):
        write_projector(tmp_path, np.eye(2), broken, np.arange(2))
    assert not list(tmp_path.iterdir())
    write_projector(tmp_path, np.eye(2), images, np.arange(2))
    with pytest.raises(OSError, match="the disk is gone"):
        write_projector(tmp_path, np.zeros((2, 2)), broken, np.arange(2))
    served = Served(tensorboard(tmp_path), ".", "test")
    np.testing.assert_array_equal(served.rows, np.eye(2))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("rows", "indices", "told"),
    [
        (np.zeros((0, 3)), np.zeros(0, int), r"non-empty.*\(0, 3\)"),
        (np.zeros(3), np.arange(3), r"\[n, dim\].*\(3,\)"),
        (np.array([["a", "b"]]), np.arange(1), "numbers; got dtype <U1"),
        (np.zeros((2, 3)), np.arange(3), r"\[2\] integers.*\(3,\)"),
        (np.zeros((2, 3)), np.zeros(2), r"\[2\] integers.*float64"),
        (np.zeros((2, 3)), np.array([1, 3]), "0 to 2.*got 1 to 3"),
        (np.zeros((2, 3)), np.array([-1, 1]), "0 to 2.*got -1 to 1"),
        (np.array([[0, 1], [np.nan, 1], [0, np.inf]]), np.arange(3), "2 of 3"),
    ],
)
def test_what_cannot_be_shown_is_told(tmp_path, rows, indices, told):
    images, _ = image_set([0, 1, 1])
    with pytest.raises(ValueError, match=told):
        write_projector(tmp_path / "events", rows, images, indices)
    assert not (tmp_path / "events").exists()


def test_embeddings_need_a_name(tmp_path):
    images, _ = image_set([0])
    with pytest.raises(ValueError, match="name must not be empty"):
        write_projector(tmp_path, np.ones((1, 2)), images, np.arange(1), name="")


@pytest.mark.parametrize("labels", [[7], [1, 1, 0], RNG.integers(0, 5, 400)])
def test_all_images_are_sampled_if_they_are_few(labels):
    found = sample_images(np.array(labels), 400)
    np.testing.assert_array_equal(found, np.arange(len(labels)))


def test_small_classes_are_sampled_whole_but_for_the_last():
    labels = RNG.permutation(np.repeat(np.arange(1000), 4))
    found = sample_images(labels, 398)
    assert len(set(found)) == 398
    assert sorted(np.unique(labels[found], return_counts=True)[1]) == [2] + [4] * 99


def test_large_classes_share_the_sample_by_fifties():
    labels = RNG.permutation(np.repeat([3, 5, 8], [1000, 500, 60]))
    found = sample_images(labels, 400)
    counts = dict(zip(*np.unique(labels[found], return_counts=True), strict=True))
    assert counts[8] == 60  # 50, then the 10 that are left
    assert sorted((counts[3] % 50, counts[5] % 50)) == [0, 40]
    assert abs(counts[3] - counts[5]) <= 50


def test_a_class_gives_the_sample_random_images_the_same_ones_each_time():
    labels = np.repeat([0, 1], 2000)
    found = sample_images(labels, 100)
    np.testing.assert_array_equal(found, sample_images(labels, 100))
    for label in (0, 1):
        own = found[labels[found] == label] - 2000 * label
        assert len(own) == 50
        assert abs(own.mean() - 1000) < 4 * 2000 / np.sqrt(12 * 50)
        assert own.max() > 1600
