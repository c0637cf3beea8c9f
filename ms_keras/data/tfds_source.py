"""Protocols of TensorFlow Datasets, with random access to prepared files."""

from __future__ import annotations

import difflib
import os
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging

from ms_keras.data import glyphs, inshop  # noqa: F401 (registers the builders)
from ms_keras.data.class_split import choose_test_classes
from ms_keras.data.label_cache import cached_labels
from ms_keras.data.protocol import ImageSet, Protocol
from ms_keras.data.published import PUBLISHED
from ms_keras.data.python_calls import called_from_threads

_FORMAT = "array_record"  # what TFDS reads at random


def tfds_protocol(
    name: str,
    data_dir: str,
    train_split: str,
    test_split: str,
    test_classes: str,
    ks: tuple[int, ...],
    gallery_split: str = "",
) -> Protocol:
    """Prepares a TFDS data set, if it is not yet, and returns its protocol.

    Args:
        name: Any name that `tfds.builder` takes, of a data set with images and labels.
            Of several labels it is the one the data set itself declares to be learned
            (its supervised keys), else the finest.
        data_dir: Where TFDS keeps data sets; if empty, its own default.
        train_split: Split to train on.
        test_split: Split to test on.
        test_classes: If not empty, both splits, which may be the same, are pooled and
            divided by class (see `choose_test_classes`).
        ks: The K of Recall@K to report.
        gallery_split: Split to search in. Defaults to none: among the test images.

    Raises:
        ValueError: If TFDS does not know the name, the data set was prepared without
            random access, it is not clear what its image and its label are, an image
            has no label, or it lacks a split; or as `choose_test_classes`.
    """
    builder = _prepared(name, data_dir)
    image, label = _features(builder)
    train, test = (
        _split(builder, split, image, label) for split in (train_split, test_split)
    )
    if test_classes:
        pooled = train if train_split == test_split else _joined(train, test)
        chosen = choose_test_classes(pooled.class_names, test_classes)
        train, test = (_subset(pooled, side) for side in (~chosen, chosen))
    gallery = _split(builder, gallery_split, image, label) if gallery_split else None
    return Protocol(builder.info.name, train, test, gallery, ks)


def tfds_images(name: str, data_dir: str, split: str) -> ImageSet:
    """Prepares a TFDS data set, if it is not yet, and returns one of its splits.

    Args:
        name: As `tfds_protocol` takes it.
        data_dir: Where TFDS keeps data sets; if empty, its own default.
        split: The split.

    Raises:
        ValueError: As `tfds_protocol`.
    """
    builder = _prepared(name, data_dir)
    image, label = _features(builder)
    return _split(builder, split, image, label)


def _prepared(name: str, data_dir: str) -> Any:
    """Returns the builder of a data set whose files are there."""
    builder = _builder(name, data_dir)
    try:
        builder.download_and_prepare(file_format=_FORMAT)
    except FileExistsError:
        if not builder.data_path.exists():
            raise
    # Another process may have prepared it meanwhile: see what is there.
    builder = _builder(name, data_dir)
    formats = {
        file_format.value for file_format in builder.info.available_file_formats()
    }
    if _FORMAT not in formats:
        raise ValueError(
            f"--dataset={name} was prepared as {', '.join(sorted(formats))} in "
            f"{builder.data_dir}, which cannot be read at random. Name another "
            f"--data_dir, where it is prepared as {_FORMAT}, or delete that folder."
        )
    return builder


def _builder(name: str, data_dir: str) -> Any:
    try:
        return tfds.builder(name, data_dir=os.path.expanduser(data_dir) or None)
    except ValueError:  # unknown, or not even a possible name
        known = tfds.list_builders()
        if name.split("/")[0].split(":")[0] in known:
            raise  # TFDS tells what is wrong with its configuration or version
        names = ["image_folder", "image_list", *PUBLISHED, *known]
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f" Close: {', '.join(close)}." if close else ""
        raise ValueError(
            f"--dataset={name}: expected image_folder, image_list, glyphs or another "
            f"TensorFlow data set, or one of {', '.join(PUBLISHED)}.{hint}"
        ) from None


def _features(builder: Any) -> tuple[str, str]:
    """Returns the names of the image's and the label's feature."""
    features = builder.info.features
    declared = builder.info.supervised_keys or ("image", "label")
    images = [k for k, f in features.items() if isinstance(f, tfds.features.Image)]
    labels = {
        k: f.num_classes
        for k, f in features.items()
        if isinstance(f, tfds.features.ClassLabel)
    } or {k: 0 for k, f in features.items() if _is_integer(f)}
    image = _only([k for k in images if k in declared] or images)
    label = _only([k for k in labels if k in declared] or _finest(labels))
    if image is None or label is None:
        raise ValueError(
            f"--dataset={builder.info.name} must have one image and one label; it has "
            f"images {images} and labels {list(labels)}."
        )
    if len(labels) > 1:
        logging.info("Labels of %s: %s, not %s", builder.info.name, label, list(labels))
    return image, label


def _is_integer(feature: Any) -> bool:
    return feature.shape == () and tf.as_dtype(feature.dtype).is_integer


def _finest(labels: dict[str, int]) -> list[str]:
    """Returns the labels with the most classes: products rather than their kinds."""
    most = max(labels.values(), default=0)
    return [name for name, num_classes in labels.items() if num_classes == most]


def _only(names: list[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def _split(builder: Any, split: str, image: str, label: str) -> ImageSet:
    if split.split("[")[0] not in builder.info.splits:
        raise ValueError(
            f"--dataset={builder.info.name} has no split {split!r}, but "
            f"{', '.join(builder.info.splits)}. Choose --train_split and --test_split."
        )
    # Undecoded examples: neither the image nor, as some have, its mask costs a thing.
    files = builder.as_data_source(
        split, deserialize_method=tfds.decode.DeserializeMethod.DESERIALIZE_NO_DECODE
    )

    def read_labels() -> np.ndarray:
        values = (e.features.feature[label].int64_list.value[0] for e in files)
        return np.fromiter(values, np.int64, len(files))

    key = [builder.info.full_name, split, label, *_told(builder, split)]
    labels = cached_labels(builder.data_path, key, len(files), read_labels)
    if not len(labels) or labels.min() < 0:
        raise ValueError(
            f"--dataset={builder.info.name}: {(labels < 0).sum()} of {len(labels)} "
            f"images of split {split!r} lack a {label!r}. Choose another split with "
            "--train_split or --test_split."
        )
    feature = builder.info.features[label]
    names = getattr(feature, "names", None) or [str(i) for i in range(labels.max() + 1)]

    @called_from_threads
    def encoded(index: np.ndarray) -> bytes:
        return files[int(index)].features.feature[image].bytes_list.value[0]

    def read(index: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.numpy_function(encoded, [index], tf.string), [])

    return ImageSet(
        labels, tuple(names), read, lambda i: f"{builder.name}/{split}[{i}]"
    )


def _told(builder: Any, split: str) -> list[str | int]:
    """Returns the name, size and time of each file that a split is read from."""
    paths = builder.info.splits[split.split("[")[0]].filepaths
    stats = [(path.name, path.stat()) for path in paths]
    return [part for name, s in stats for part in (name, s.length, s.mtime)]


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
    names = max(one.class_names, other.class_names, key=len)  # one may lack the last
    return ImageSet(labels, names, read, image_name)


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
