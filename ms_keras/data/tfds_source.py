"""Protocols of TensorFlow Datasets, with random access to prepared files."""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from ms_keras.data import glyphs  # noqa: F401 (registers the builder)
from ms_keras.data.class_split import choose_test_classes
from ms_keras.data.protocol import ImageSet, Protocol


def tfds_protocol(
    name: str,
    data_dir: str,
    train_split: str,
    test_split: str,
    test_classes: str,
    ks: tuple[int, ...],
) -> Protocol:
    """Prepares a TFDS data set, if it is not yet, and returns its protocol.

    Args:
        name: Any name that `tfds.builder` takes, of a data set with one image and one
            label.
        data_dir: Where TFDS keeps data sets; if empty, its own default.
        train_split: Split to train on.
        test_split: Split to test on.
        test_classes: If not empty, both splits, which may be the same, are pooled and
            divided by class (see `choose_test_classes`).
        ks: The K of Recall@K to report.

    Raises:
        ValueError: If TFDS does not know the name, the data set has not one image and
            one label, or it lacks a split; or as `choose_test_classes`.
    """
    builder = _builder(name, data_dir)
    builder.download_and_prepare(file_format="array_record")
    image, label = _features(builder)
    train, test = (
        _split(builder, split, image, label) for split in (train_split, test_split)
    )
    if test_classes:
        pooled = train if train_split == test_split else _joined(train, test)
        chosen = choose_test_classes(pooled.class_names, test_classes)
        train, test = (_subset(pooled, side) for side in (~chosen, chosen))
    return Protocol(builder.info.name, train, test, None, ks)


def _builder(name: str, data_dir: str) -> Any:
    try:
        return tfds.builder(name, data_dir=data_dir or None, file_format="array_record")
    except tfds.core.DatasetNotFoundError:
        close = difflib.get_close_matches(name, tfds.list_builders(), n=3, cutoff=0.5)
        hint = f" Close: {', '.join(close)}." if close else ""
        raise ValueError(
            f"--dataset={name}: expected image_folder, image_list, glyphs or the name "
            f"of a TensorFlow data set.{hint}"
        ) from None


def _features(builder: Any) -> tuple[str, str]:
    """Returns the names of the image's and the label's feature."""
    features = builder.info.features
    images = [k for k, f in features.items() if isinstance(f, tfds.features.Image)]
    labels = [k for k, f in features.items() if isinstance(f, tfds.features.ClassLabel)]
    if not labels:
        labels = [k for k, f in features.items() if _is_integer(f)]
    if "label" in labels:  # beside coarser or finer ones
        labels = ["label"]
    if len(images) != 1 or len(labels) != 1:
        raise ValueError(
            f"--dataset={builder.info.name} must have one image and one label; it has "
            f"images {images} and labels {labels}."
        )
    return images[0], labels[0]


def _is_integer(feature: Any) -> bool:
    return feature.shape == () and tf.as_dtype(feature.dtype).is_integer


def _split(builder: Any, split: str, image: str, label: str) -> ImageSet:
    if split.split("[")[0] not in builder.info.splits:
        raise ValueError(
            f"--dataset={builder.info.name} has no split {split!r}, but "
            f"{', '.join(builder.info.splits)}. Choose --train_split and --test_split."
        )
    files = builder.as_data_source(split, decoders={image: tfds.decode.SkipDecoding()})
    labels = np.array([example[label] for example in files], np.int64)
    feature = builder.info.features[label]
    names = getattr(feature, "names", None) or [
        str(i) for i in range(labels.max(initial=0) + 1)
    ]

    def encoded(index: np.ndarray) -> bytes:
        return files[int(index)][image]

    def read(index: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.numpy_function(encoded, [index], tf.string), [])

    return ImageSet(
        labels, tuple(names), read, lambda i: f"{builder.name}/{split}[{i}]"
    )


def _joined(one: ImageSet, other: ImageSet) -> ImageSet:
    first = len(one)

    def read(index: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            index < first, lambda: one.read(index), lambda: other.read(index - first)
        )

    def image_name(index: int) -> str:
        return (
            one.image_name(index) if index < first else other.image_name(index - first)
        )

    labels = np.concatenate([one.labels, other.labels])
    return ImageSet(labels, one.class_names, read, image_name)


def _subset(images: ImageSet, classes: np.ndarray) -> ImageSet:
    """Returns the images of some classes, whose ids keep their meaning."""
    members = np.flatnonzero(classes[images.labels])
    table = tf.constant(members, tf.int64)
    return ImageSet(
        labels=images.labels[members],
        class_names=images.class_names,
        read=lambda index: images.read(table[index]),
        image_name=lambda index: images.image_name(int(members[index])),
    )
