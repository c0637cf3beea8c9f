"""From an image set to `tf.data`: batches to train on, batches to score.

Python is called for indices alone; reading, decoding and augmenting are TensorFlow
ops that run in parallel.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from ms_keras.data.images import Augmentation, decode_for_scoring, decode_for_training
from ms_keras.data.protocol import ImageSet
from ms_keras.data.python_calls import called_from_threads
from ms_keras.data.sampler import PKSampler
from ms_keras.data.unreadable import (
    UnreadableImages,
    refuser_of_lost_classes,
    reporter,
)

Triple = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


def training_dataset(
    images: ImageSet,
    sampler: PKSampler,
    augmentation: Augmentation,
    *,
    seed: int = 0,
    first_step: int = 0,
    unreadable: UnreadableImages | None = None,
) -> tf.data.Dataset:
    """Returns endless P x K batches of augmented images.

    What a step sees depends on the seed and the step alone, so that a run that was
    interrupted sees, from `first_step` on, what it would have seen without.

    Args:
        images: The images to train on.
        sampler: Draws the batches' images.
        augmentation: Random crop and flip.
        seed: Seed of the augmentation. Defaults to `0`.
        first_step: Step to begin with. Defaults to `0`.
        unreadable: What to do with unreadable images; when skipped, another image of
            the same class in the batch stands in, and a class all of whose images in
            a batch are unreadable is an error. Defaults to raising an error.

    Returns:
        Pairs of images `[P * K, size, size, 3]` float32 in 0-255, labels `[P * K]`
        int64.
    """
    labels = tf.constant(images.labels, tf.int64)
    size = sampler.batch_size
    unreadable = unreadable or UnreadableImages()
    draw = called_from_threads(sampler.batch)
    refuse = refuser_of_lost_classes(images, unreadable)

    def indices() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for step in itertools.count(first_step):
            yield draw(step), step * size + np.arange(size)

    def decode(index: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        picture_seed = tf.stack([tf.cast(seed, tf.int64), number])
        return decode_for_training(images.read(index), picture_seed, augmentation)

    def complete(
        pictures: tf.Tensor, indices: tf.Tensor, places: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        classes = tf.gather(labels, indices)
        pictures = _stand_in(pictures, classes, places, refuse)
        return tf.ensure_shape(pictures, [size, *pictures.shape[1:]]), classes

    batches = tf.data.Dataset.from_generator(
        indices, output_signature=(tf.TensorSpec([size], tf.int64),) * 2
    )
    dataset = _decoded(batches, decode, augmentation.image_size, images, unreadable)
    return _whole_on_every_worker(dataset.map(complete).prefetch(2))


def scoring_dataset(
    images: ImageSet,
    image_size: int,
    short_side: int,
    *,
    batch_size: int = 128,
    unreadable: UnreadableImages | None = None,
) -> tf.data.Dataset:
    """Returns all images once, in order, without randomness.

    Args:
        images: The images.
        image_size: Height and width of the result, in pixels.
        short_side: What short sides are resized to before the centre crop.
        batch_size: Images in a batch; the last may have fewer. Defaults to `128`.
        unreadable: What to do with unreadable images; when skipped, they are left out.
            Defaults to raising an error.

    Returns:
        Pairs of images `[batch, image_size, image_size, 3]` float32 in 0-255, and their
        indices into `images`, `[batch]` int64.
    """

    def decode(index: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        return decode_for_scoring(images.read(index), image_size, short_side)

    batches = tf.data.Dataset.range(len(images)).batch(batch_size)
    batches = tf.data.Dataset.zip((batches, batches))
    unreadable = unreadable or UnreadableImages()
    dataset = _decoded(batches, decode, image_size, images, unreadable)
    dataset = dataset.map(
        lambda pictures, indices, places: (pictures, tf.gather(indices, places))
    )
    return dataset.prefetch(2)


def _decoded(
    batches: tf.data.Dataset,
    decode: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    image_size: int,
    images: ImageSet,
    unreadable: UnreadableImages,
) -> tf.data.Dataset:
    """Decodes batches, leaving out and reporting what cannot be read.

    A graph cannot catch an error, but a data set can leave the element out. So each
    batch is a data set of its own: it is decoded in one go, and only if that fails,
    image by image. Two of them at work hide each other's start and end.

    Args:
        batches: Pairs of indices and numbers, `[batch]` int64 each.
        decode: From an index and a number to a picture.
        image_size: Height and width of pictures.
        images: Where the indices point.
        unreadable: What to do with unreadable images.

    Returns:
        Triples of pictures `[readable, size, size, 3]`, the batch's indices `[batch]`
        and the places of the pictures in it `[readable]` int64, in order.
    """
    report = reporter(images, unreadable)
    shape = [image_size, image_size, 3]

    def decoded(index: tf.Tensor, number: tf.Tensor, place: tf.Tensor) -> Triple:
        return tf.ensure_shape(decode(index, number), shape), index, place

    def one_batch(indices: tf.Tensor, numbers: tf.Tensor) -> tf.data.Dataset:
        size = tf.size(indices, tf.int64)
        each = tf.data.Dataset.from_tensor_slices((indices, numbers, tf.range(size)))

        def pictures() -> tf.data.Dataset:
            return each.map(decoded, num_parallel_calls=tf.data.AUTOTUNE)

        # TensorFlow fuses map and batch, which spares a copy, if nothing stands between
        # them and nothing else reads the map: hence a second one.
        whole = pictures().batch(size).ignore_errors()
        readable = pictures().ignore_errors().batch(size)
        none = tf.data.Dataset.from_tensors(
            (tf.zeros([0, *shape]), indices[:0], tf.zeros([0], tf.int64))
        )
        partial = readable.concatenate(none).map(
            lambda pictures, _, places: (pictures, indices, places)
        )
        return whole.concatenate(partial).take(1)

    def reported(pictures: tf.Tensor, indices: tf.Tensor, places: tf.Tensor) -> Triple:
        complete = tf.size(places) == tf.size(indices)
        with tf.control_dependencies(
            [tf.cond(complete, lambda: False, lambda: report(indices, places))]
        ):
            return tf.identity(pictures), indices, places

    dataset = batches.interleave(
        one_batch, cycle_length=2, num_parallel_calls=2, deterministic=True
    )
    return dataset.map(reported)


def _stand_in(
    pictures: tf.Tensor,
    classes: tf.Tensor,
    places: tf.Tensor,
    refuse: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """Puts in place of each missing picture another one of its class.

    Args:
        pictures: `[readable, ...]`.
        classes: `[batch]` class ids.
        places: `[readable]` places of the pictures in the batch.
        refuse: Raises if there are any of the class ids it is given.

    Returns:
        `[batch, ...]` pictures.
    """

    def completed() -> tf.Tensor:
        same = classes[:, tf.newaxis] == tf.gather(classes, places)
        itself = tf.range(tf.size(classes, tf.int64))[:, tf.newaxis] == places
        lost = tf.boolean_mask(classes, ~tf.reduce_any(same, axis=1))
        with tf.control_dependencies([refuse(lost)]):
            # Its own picture where it has one, else the first of its class.
            preference = tf.cast(same, tf.int32) + tf.cast(itself, tf.int32)
            return tf.gather(pictures, tf.argmax(preference, axis=1))

    # The usual batch is complete: spare it the copy.
    whole = tf.size(places) == tf.size(classes)
    return tf.cond(whole, lambda: pictures, completed)


def _whole_on_every_worker(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Tells `tf.distribute` not to split the source: batches are split, and suffice."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    return dataset.with_options(options)
