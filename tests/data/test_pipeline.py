"""Batches as the sampler draws them, reproducible, resumable, robust to bad files."""

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.data.image_folder import image_folder
from ms_keras.data.images import Augmentation, decode_for_scoring
from ms_keras.data.pipeline import (
    UnreadableImages,
    scoring_dataset,
    training_dataset,
)
from ms_keras.data.sampler import PKSampler


@pytest.fixture
def images(folder):
    return image_folder(str(folder), "dog", (1,)).train


def batches(images, count, first_step=0, unreadable=None, seed=0):
    dataset = training_dataset(
        images,
        PKSampler(images.labels, 2, 3),
        Augmentation(16),
        seed=seed,
        first_step=first_step,
        unreadable=unreadable,
    )
    return [(x.numpy(), y.numpy()) for x, y in dataset.take(count)]


def test_batches_hold_the_sampled_classes(images):
    sampler = PKSampler(images.labels, 2, 3)
    for step, (pictures, labels) in enumerate(batches(images, 4)):
        assert pictures.shape == (6, 16, 16, 3)
        assert pictures.dtype == np.float32
        np.testing.assert_array_equal(labels, images.labels[sampler.batch(step)])


def test_a_resumed_run_sees_the_pictures_of_an_uninterrupted_one(images):
    whole, resumed = batches(images, 6), batches(images, 3, first_step=3)
    for (pictures, labels), (again, labels_again) in zip(
        whole[3:], resumed, strict=True
    ):
        np.testing.assert_array_equal(pictures, again)
        np.testing.assert_array_equal(labels, labels_again)


def test_another_seed_augments_differently(images):
    assert np.any(batches(images, 1)[0][0] != batches(images, 1, seed=1)[0][0])


def counted(images):
    """Returns the images, and the list of the indices that are read."""
    read = []

    def counting(index):
        read.append(int(index))
        return images.read(tf.constant(index)).numpy()

    def reading(index):
        return tf.ensure_shape(tf.numpy_function(counting, [index], tf.string), [])

    return dataclasses.replace(images, read=reading), read


def test_only_images_of_the_batches_taken_are_read(images):
    counting, read = counted(images)
    batches(counting, 2)
    assert len(read) <= 6 * 20  # what is prefetched, of an endless data set


def test_scoring_reads_every_image_once(images):
    counting, read = counted(images)
    list(scoring_dataset(counting, 8, 8, batch_size=5))
    assert sorted(read) == list(range(len(images)))


def test_scoring_gives_every_image_once_in_order(images):
    dataset = scoring_dataset(images, 12, 14, batch_size=5)
    pictures, indices = zip(*dataset.as_numpy_iterator(), strict=True)
    np.testing.assert_array_equal(np.concatenate(indices), np.arange(len(images)))
    for index, picture in enumerate(np.concatenate(pictures)):
        encoded = images.read(tf.constant(index, tf.int64))
        np.testing.assert_array_equal(picture, decode_for_scoring(encoded, 12, 14))


def spoil(images, *indices):
    for index in indices:
        path = images.image_name(index)
        data = pathlib.Path(path).read_bytes()
        pathlib.Path(path).write_bytes(data[: len(data) // 2])


def test_an_unreadable_image_is_named_in_the_error(images):
    spoil(images, 7)
    unreadable = UnreadableImages()
    with pytest.raises(tf.errors.OpError, match=r"bee/1\.jpg"):
        batches(images, 9, unreadable=unreadable)
    assert "--skip_unreadable" in unreadable.error
    with pytest.raises(tf.errors.OpError, match=r"bee/1\.jpg"):
        list(scoring_dataset(images, 8, 8))


def test_skipped_training_images_are_replaced_by_their_class(images):
    spoil(images, 0, 1, 7)
    unreadable = UnreadableImages(skip=True)
    sampler = PKSampler(images.labels, 2, 3)
    for step, (pictures, labels) in enumerate(
        batches(images, 9, unreadable=unreadable)
    ):
        assert pictures.shape == (6, 16, 16, 3)
        assert pictures.std(axis=(1, 2, 3)).min() > 0
        np.testing.assert_array_equal(labels, images.labels[sampler.batch(step)])
    names = [name.rsplit("images/")[-1] for name in unreadable.names]
    assert names == ["ant/0.jpg", "ant/1.jpg", "bee/1.jpg"]


def test_skipped_scoring_images_are_left_out(images):
    spoil(images, 3, 4)
    unreadable = UnreadableImages(skip=True)
    dataset = scoring_dataset(images, 8, 8, batch_size=4, unreadable=unreadable)
    indices = np.concatenate([batch for _, batch in dataset.as_numpy_iterator()])
    expected = [i for i in range(len(images)) if i not in (3, 4)]
    np.testing.assert_array_equal(indices, expected)
    assert len(unreadable.names) == 2


def test_a_batch_that_is_unreadable_as_a_whole_is_left_out_of_scoring(images):
    spoil(images, 0, 1, 2)
    dataset = scoring_dataset(
        images, 8, 8, batch_size=3, unreadable=UnreadableImages(skip=True)
    )
    sizes = [len(batch) for _, batch in dataset.as_numpy_iterator()]
    assert sum(sizes) == len(images) - 3


def test_a_class_without_any_readable_image_stops_training(images):
    spoil(images, *range(6))
    unreadable = UnreadableImages(skip=True)
    with pytest.raises(tf.errors.OpError, match="of class ant, no image"):
        batches(images, 9, unreadable=unreadable)
    assert "of class ant, no image" in unreadable.error


def test_a_vanished_file_is_unreadable_too(images, folder):
    (folder / "cat" / "2.jpg").unlink()
    unreadable = UnreadableImages(skip=True)
    list(scoring_dataset(images, 8, 8, unreadable=unreadable))
    assert [name.rsplit("/")[-2:] for name in unreadable.names] == [["cat", "2.jpg"]]


def test_replicas_share_a_batch(images, two_replicas):
    dataset = training_dataset(
        images, PKSampler(images.labels, 2, 3), Augmentation(8, 1.0, flip=False)
    )
    expected = [labels.numpy() for _, labels in dataset.take(3)]
    distributed = iter(two_replicas.experimental_distribute_dataset(dataset))
    for labels in expected:
        _, local = next(distributed)
        parts = [p.numpy() for p in two_replicas.experimental_local_results(local)]
        assert [len(part) for part in parts] == [3, 3]
        np.testing.assert_array_equal(np.concatenate(parts), labels)
