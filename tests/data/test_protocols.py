"""Protocols of folders and lists: who trains, who tests, and what goes wrong."""

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.data.image_folder import image_folder
from ms_keras.data.image_list import image_list


def names_of(images):
    """Returns the class name and the file of every image."""
    return [
        (images.class_names[label], images.image_name(i).rsplit("/", 2)[-2:])
        for i, label in enumerate(images.labels)
    ]


def test_a_folder_is_split_by_class(folder):
    (folder / "README.txt").write_text("no class")
    (folder / "empty").mkdir()
    (folder / "ant" / "notes.txt").write_text("no image")
    protocol = image_folder(str(folder), "0.5", (1, 2))
    assert protocol.train.class_names == ("ant", "bee")
    assert protocol.test.class_names == ("cat", "dog")
    assert (len(protocol.train), len(protocol.test)) == (12, 12)
    assert protocol.gallery is None
    for images in (protocol.train, protocol.test):
        assert all(name == path[0] for name, path in names_of(images))
        np.testing.assert_array_equal(np.bincount(images.labels), [6, 6])
    encoded = protocol.test.read(tf.constant(7, tf.int64)).numpy()
    assert encoded == (folder / "dog" / "1.jpg").read_bytes()


def test_images_may_lie_deeper_in_a_class(folder):
    (folder / "ant" / "more").mkdir()
    (folder / "ant" / "0.jpg").rename(folder / "ant" / "more" / "0.JPEG")
    assert len(image_folder(str(folder), "dog", (1,)).train) == 18


def test_hidden_files_are_passed_over_and_others_are_told(folder, caplog):
    (folder / "ant" / "._0.jpg").write_bytes(b"what a Mac leaves behind")
    for hidden in (folder / ".thumbnails", folder / "ant" / ".ipynb_checkpoints"):
        hidden.mkdir()
        (hidden / "0.jpg").write_bytes(b"")
    (folder / "bee" / "0.webp").write_bytes(b"")
    with caplog.at_level("WARNING"):
        protocol = image_folder(str(folder), "0.5", (1,))
    assert len(protocol.train) == 12
    assert "Left out 1 files" in caplog.text
    assert "0.webp" in caplog.text


@pytest.mark.parametrize("missing", ["", "/no/such/folder"])
def test_a_missing_folder_is_told(missing):
    with pytest.raises(ValueError, match="--data_dir"):
        image_folder(missing, "0.5", (1,))


def test_a_folder_without_classes_is_told(tmp_path):
    with pytest.raises(ValueError, match="one per class"):
        image_folder(str(tmp_path), "0.5", (1,))


def lists(folder, train, test="", gallery="", test_classes="0.5"):
    return image_list(str(folder), train, test, gallery, test_classes, (1,))


def write(folder, name, *lines):
    (folder / name).write_text("\n".join(lines) + "\n")
    return name


def test_lists_of_train_and_test(folder):
    (folder / "ant" / "0.jpg").rename(folder / "ant" / "with space.jpg")
    train = write(folder, "train.txt", "ant/with space.jpg 10", "", "bee/0.jpg 9")
    test = write(folder, "test.txt", "cat/0.jpg, 3, 77", "dog/0.jpg, 4, 77")
    protocol = lists(folder, train, test)
    assert names_of(protocol.train) == [
        ("10", ["ant", "with space.jpg"]),
        ("9", ["bee", "0.jpg"]),
    ]
    assert protocol.train.class_names == ("9", "10")  # numbers in their own order
    assert [name for name, _ in names_of(protocol.test)] == ["3", "4"]


def test_a_byte_order_mark_is_no_part_of_the_first_path(folder):
    (folder / "train.txt").write_text("ant/0.jpg 1\nbee/0.jpg 2\n", "utf-8-sig")
    assert len(lists(folder, "train.txt", "train.txt").train) == 2


def test_queries_and_gallery_share_class_ids(folder):
    train = write(folder, "train.txt", "ant/0.jpg ant", "bee/0.jpg bee")
    queries = write(folder, "query.txt", "dog/0.jpg dog", "cat/0.jpg cat")
    gallery = write(folder, "gallery.txt", "cat/1.jpg cat", "dog/1.jpg dog")
    protocol = lists(folder, train, queries, gallery)
    assert protocol.test.class_names == protocol.gallery.class_names == ("cat", "dog")
    assert protocol.test.labels.tolist() == [1, 0]
    assert protocol.gallery.labels.tolist() == [0, 1]


def test_one_list_is_split_by_class(folder):
    all_images = write(
        folder,
        "all.txt",
        *(f"{c}/{i}.jpg {c}" for i in range(2) for c in ("ant", "bee")),
    )
    protocol = lists(folder, all_images, test_classes="ant")
    assert {name for name, _ in names_of(protocol.test)} == {"ant"}
    assert {name for name, _ in names_of(protocol.train)} == {"bee"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["ant/0.jpg"], "line 1: expected `path label`"),
        (["ant/0.jpg,"], "line 1"),
        ([], "is empty"),
        (["ant/0.jpg 1", "ant/x.jpg 1", "bad/0.jpg 2"], "2 of 3 images do not exist"),
    ],
)
def test_broken_lists_are_told(folder, lines, message):
    train = write(folder, "train.txt", *lines)
    with pytest.raises(ValueError, match=message):
        lists(folder, train, train)


def test_missing_lists_are_told(folder):
    with pytest.raises(ValueError, match="--train_list is missing"):
        lists(folder, "")
    with pytest.raises(ValueError, match=r"--train_list=no\.txt: no such file"):
        lists(folder, "no.txt")
    train = write(folder, "train.txt", "ant/0.jpg 1", "bee/0.jpg 2")
    with pytest.raises(ValueError, match="needs a --test_list"):
        lists(folder, train, gallery=train)
