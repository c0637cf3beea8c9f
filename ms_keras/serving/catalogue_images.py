"""The images of a catalogue: where they come from, and how a tower embeds them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tqdm

from ms_keras.data.files import missing_files
from ms_keras.data.tfds_source import tfds_images
from ms_keras.data.unreadable import UnreadableImages
from ms_keras.retrieval.inputs import unit_rows
from ms_keras.serving.catalogue import Catalogue, check_ids
from ms_keras.serving.client.sources import images_of
from ms_keras.serving.decoding import why_unreadable
from ms_keras.serving.loaded_tower import LoadedTower

_BATCH = 64
_READERS = 16


class CatalogueImages(NamedTuple):
    """Images to be found.

    Attributes:
        ids: What each is called.
        read: From a place in `ids` to the contents of the file; empty if it cannot be
            read.
    """

    ids: list[str]
    read: Callable[[int], bytes]


def images_of_folders(paths: Sequence[str]) -> CatalogueImages:
    """Returns the images of folders at any depth, called by their path inside.

    Raises:
        ValueError: If a path is missing, a folder has no images, or two images would
            be called the same.
    """
    sources = images_of(paths)
    return _of_files([s.name for s in sources], [s.location for s in sources])


def images_of_list(path: str) -> CatalogueImages:
    """Returns the images that a text file lists, one in a line: `path` or `path,id`.

    Paths are relative to the file's folder. Empty lines are passed over.

    Raises:
        ValueError: If the file cannot be read or is empty, images are missing, or two
            are called the same.
    """
    file = Path(path)
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--list={path} cannot be read: {error}.") from error
    parts = [line.strip().rsplit(",", 1) for line in lines if line.strip()]
    if not parts:
        raise ValueError(
            f"--list={path} is empty; expected a line `path` or `path,id` per image."
        )
    locations = [str(file.parent / part[0].strip()) for part in parts]
    missing = missing_files(locations)
    if missing:
        raise ValueError(
            f"--list={path}: {len(missing)} of {len(locations)} images do not exist, "
            f"first {', '.join(missing[:3])}. Paths are relative to the list's folder."
        )
    return _of_files([part[-1].strip() for part in parts], locations)


def images_of_dataset(name: str, split: str, data_dir: str = "") -> CatalogueImages:
    """Returns the images of a TFDS split, called `name/split[i]`.

    Raises:
        ValueError: As `tfds_images`.
    """
    images = tfds_images(name, data_dir, split)
    ids = [images.image_name(index) for index in range(len(images))]
    return CatalogueImages(ids, lambda index: images.read(tf.constant(index)).numpy())


def some_of(images: CatalogueImages, places: Sequence[int]) -> CatalogueImages:
    """Returns the images at some places."""
    ids = [images.ids[place] for place in places]
    return CatalogueImages(ids, lambda index: images.read(places[index]))


def embedded(
    images: CatalogueImages, tower: LoadedTower, unreadable: UnreadableImages
) -> Catalogue:
    """Embeds images as a server would, with a progress bar.

    Args:
        images: The images.
        tower: Embeds them.
        unreadable: What to do with those that cannot be read.

    Raises:
        ValueError: If an image cannot be read and is not to be skipped, none can, or
            the embeddings are not finite.
    """
    ids: list[str] = []
    parts: list[np.ndarray] = []
    with tqdm.tqdm(
        total=len(images.ids),
        desc="embed catalogue",
        unit="image",
        leave=False,
        mininterval=0.5 if sys.stderr.isatty() else 10,
    ) as bar:
        for places, contents in _batches(images, min(_BATCH, tower.max_batch)):
            rows, readable = tower.embed(contents)
            for i in np.flatnonzero(~readable):
                why = why_unreadable(contents[i], tower.max_pixels)
                unreadable.meet(images.ids[places[i]], why)
            ids += [images.ids[places[i]] for i in np.flatnonzero(readable)]
            parts.append(unit_rows(rows, "embeddings")[readable])
            bar.update(len(places))
    if not ids:
        raise ValueError(f"None of the {len(images.ids)} images can be read.")
    return Catalogue(ids, np.concatenate(parts))


def _of_files(ids: list[str], locations: list[str]) -> CatalogueImages:
    check_ids(ids)

    def read(index: int) -> bytes:
        try:
            return Path(locations[index]).read_bytes()
        except OSError:
            return b""

    return CatalogueImages(ids, read)


def _batches(images: CatalogueImages, size: int) -> Iterator[tuple[range, list[bytes]]]:
    """Yields places and contents; the next files are read meanwhile."""
    count = len(images.ids)
    with ThreadPoolExecutor(_READERS) as pool:
        batches = [range(i, min(i + size, count)) for i in range(0, count, size)]
        coming = [pool.submit(images.read, place) for place in batches[0]]
        for places, following in zip(batches, [*batches[1:], range(0)], strict=True):
            contents = [future.result() for future in coming]
            coming = [pool.submit(images.read, place) for place in following]
            yield places, contents
