"""Activations of the frozen lower layers, computed once and kept as memory maps."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import sys
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tqdm

from benchmarks.ablation.datasets import read_protocol
from benchmarks.ablation.settings import Settings, Source
from benchmarks.ablation.split_tower import SplitTower, tower_to_split
from ms_keras.data.images import Augmentation, decode_for_training
from ms_keras.data.protocol import ImageSet
from ms_keras.retrieval.embedding import embed

_BATCH = 64


@dataclasses.dataclass(frozen=True, eq=False)
class CachedMaps:
    """A data set behind the frozen layers. Maps are `[height, width, channels]`.

    Attributes:
        train_crops: `[train, crops, ...]` float16 maps of random crops.
        train_centres: `[train, ...]` float16 maps of centre crops.
        train_labels: `[train]` int64 class ids from 0.
        test_centres: `[test, ...]` float16 maps of centre crops.
        test_labels: `[test]` int64 class ids from 0, of other classes.
    """

    train_crops: np.ndarray
    train_centres: np.ndarray
    train_labels: np.ndarray
    test_centres: np.ndarray
    test_labels: np.ndarray


_ARRAYS = tuple(field.name for field in dataclasses.fields(CachedMaps))


def load_maps(out_dir: pathlib.Path, name: str) -> CachedMaps:
    """Opens the maps of a data set; pages are read as they are needed."""
    folder = maps_folder(out_dir, name)
    return CachedMaps(
        **{array: np.load(folder / f"{array}.npy", mmap_mode="r") for array in _ARRAYS}
    )


def maps_folder(out_dir: pathlib.Path, name: str) -> pathlib.Path:
    """Returns where a data set's maps lie: all of them, or there is no such folder."""
    return out_dir / "maps" / name


def make_maps(out_dir: pathlib.Path, settings: Settings, source: Source) -> None:
    """Computes the maps of a data set, unless they are there.

    Raises:
        ValueError: If images are missing or cannot be read, or the weights are not the
            backbone's.
    """
    target = maps_folder(out_dir, source.name)
    if target.exists():
        return
    beside = target.with_name(f".{source.name}.incomplete")
    shutil.rmtree(beside, ignore_errors=True)  # of a start that was killed
    beside.mkdir(parents=True)
    try:
        _write_maps(beside, settings, source)
        os.replace(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_maps(folder: pathlib.Path, settings: Settings, source: Source) -> None:
    protocol = read_protocol(source, folder)
    tower = tower_to_split(
        source.image_size, settings.weights, settings.embedding_dim, seed=0
    )
    maps_of = SplitTower(tower).maps
    for name, images in (("train", protocol.train), ("test", protocol.test)):
        np.save(folder / f"{name}_labels.npy", images.labels)
        what = f"{source.name}'s {name} images"
        # Also finds, and tells, images that cannot be read.
        centres = _centres(images, maps_of, source.image_size, what)
        np.save(folder / f"{name}_centres.npy", centres)
    shape = (len(protocol.train), settings.crops, *centres.shape[1:])
    crops = np.lib.format.open_memmap(
        folder / "train_crops.npy", mode="w+", dtype=np.float16, shape=shape
    )
    _fill_with_crops(crops, protocol.train, maps_of, source)
    crops.flush()


def _centres(
    images: ImageSet,
    maps_of: Callable[[tf.Tensor], tf.Tensor],
    image_size: int,
    what: str,
) -> np.ndarray:
    embedded = embed(
        {"maps": lambda pictures: tf.cast(maps_of(pictures), tf.float16)},
        images,
        image_size=image_size,
        short_side=image_size,
        what=what,
    )
    return embedded.rows["maps"]


def _fill_with_crops(
    crops: np.ndarray,
    images: ImageSet,
    maps_of: Callable[[tf.Tensor], tf.Tensor],
    source: Source,
) -> None:
    """Writes the maps of random crops, whose seeds are their places."""
    count, per_image = crops.shape[:2]
    places = crops.reshape(count * per_image, *crops.shape[2:])  # a view
    augmentation = Augmentation(source.image_size)

    def decode(place: tf.Tensor) -> tf.Tensor:
        seed = tf.stack([tf.zeros([], tf.int64), place])
        encoded = images.read(place // per_image)
        return decode_for_training(encoded, seed, augmentation)

    @tf.function(autograph=False, reduce_retracing=True)
    def run(pictures: tf.Tensor) -> tf.Tensor:
        return tf.cast(maps_of(pictures), tf.float16)

    dataset = tf.data.Dataset.range(len(places))
    dataset = dataset.map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    first = 0
    with tqdm.tqdm(
        total=len(places),
        desc=f"embed crops of {source.name}",
        unit="crop",
        leave=False,
        mininterval=0.5 if sys.stderr.isatty() else 10,
    ) as bar:
        for pictures in dataset.batch(_BATCH).prefetch(2):
            maps = run(pictures).numpy()
            places[first : first + len(maps)] = maps
            first += len(maps)
            bar.update(len(maps))
