"""TensorBoard's embedding projector: rows of a run with class names and thumbnails."""

from __future__ import annotations

import math
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.plugins import projector

from ms_keras.data.protocol import ImageSet
from ms_keras.retrieval.page.thumbnails import thumbnails

CONFIG = "projector_config.pbtxt"  # TensorBoard looks for this name
_IMAGES = 5_000  # more than that t-SNE in a browser takes too long for
_CLASS_IMAGES = 50
# A multiple of 16, so that no block of the JPEG lies in two thumbnails. The sprite has
# 71 in a row, 3,408 pixels; the projector refuses more than 8,192.
_PIXELS = 48
_EMPTY = 208  # grey level where there is no thumbnail
_FOLDER = "projector-"


def write_projector(
    directory: str | os.PathLike[str],
    rows: np.ndarray,
    images: ImageSet,
    indices: np.ndarray,
    name: str = "test",
) -> None:
    """Writes embeddings where TensorBoard's projector finds them.

    Of more than 5,000 images it shows those that `sample_images` draws. Points are
    named by class and image. The class is there as a number too: the projector colours
    by names only if there are 50 or fewer.

    The files count from the moment TensorBoard's list of them is replaced, which is the
    last thing written. Embeddings of the same name that were there before are removed,
    those of other names stay. A TensorBoard that is running shows them once it is
    started again.

    Args:
        directory: The run's `events` folder; made if missing.
        rows: `[n, dim]` finite embeddings.
        images: The image set that was embedded.
        indices: `[n]` integers, the image of each row.
        name: What the projector calls the embeddings. Defaults to `"test"`.

    Raises:
        ValueError: If the name is empty, rows are not finite numbers or have another
            shape, or there is not an image for each.
    """
    if not name:
        raise ValueError('name must not be empty; got "". Say "test", for example.')
    rows, indices = _check_shapes(rows, images, indices)
    chosen = sample_images(images.labels[indices], _IMAGES)
    rows, indices = rows[chosen].astype(np.float32), indices[chosen]
    _check_finite(rows)
    target = pathlib.Path(directory)
    folder = target / f"{_FOLDER}{uuid.uuid4().hex[:12]}"
    folder.mkdir(parents=True)
    try:
        config = _config(target / CONFIG, name, folder.name)
        # As text: the projector takes raw bytes for text if they happen to be UTF-8.
        np.savetxt(folder / "rows.tsv", rows, fmt="%.6g", delimiter="\t")
        _write_metadata(folder / "metadata.tsv", images, indices)
        jpegs = thumbnails(images, indices, "the projector")
        (folder / "sprite.jpg").write_bytes(_sprite(jpegs, len(indices)))
        text = text_format.MessageToString(config)
        (folder / CONFIG).write_text(text, encoding="utf-8")
        os.replace(folder / CONFIG, target / CONFIG)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _remove_unlisted(target, config)


def sample_images(labels: np.ndarray, count: int) -> np.ndarray:
    """Draws images of which neighbours can be seen, the same ones each time.

    Drawn one by one, few images of a small class would have another one beside them. So
    classes are drawn, each with up to 50 random images; once all are, further images of
    the larger ones follow in the same way.

    Args:
        labels: `[n]` integer classes.
        count: How many to draw at most.

    Returns:
        `[min(n, count)]` int64 indices, rising.
    """
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(len(labels))
    _, classes, sizes = np.unique(
        labels[shuffled], return_inverse=True, return_counts=True
    )
    by_class = np.argsort(classes, kind="stable")
    # Where an image stands among those of its class.
    place: np.ndarray = np.empty(len(labels), np.int64)
    place[by_class] = np.arange(len(labels)) - np.repeat(sizes.cumsum() - sizes, sizes)
    turn = rng.permutation(len(sizes))[classes]
    order = np.lexsort((turn, place // _CLASS_IMAGES))
    return np.sort(shuffled[order[:count]])


def _check_shapes(
    rows: np.ndarray, images: ImageSet, indices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    rows, indices = np.asarray(rows), np.asarray(indices)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(
            f"rows must be a non-empty [n, dim] array; got shape {rows.shape}."
        )
    # TensorFlow's bfloat16 is no kind of float to NumPy, but converts like one.
    if rows.dtype.kind not in "biuf" and rows.dtype.name != "bfloat16":
        raise ValueError(f"rows must be real numbers; got dtype {rows.dtype}.")
    if indices.shape != (len(rows),) or indices.dtype.kind not in "iu":
        raise ValueError(
            f"indices must be [{len(rows)}] integers, an image for each row; got shape "
            f"{indices.shape} of {indices.dtype}."
        )
    if indices.min() < 0 or indices.max() >= len(images):
        raise ValueError(
            f"indices must be 0 to {len(images) - 1}, as there are {len(images)} "
            f"images; got {indices.min()} to {indices.max()}. Pass the image set that "
            "was embedded."
        )
    return rows, indices.astype(np.int64)


def _check_finite(rows: np.ndarray) -> None:
    broken = np.count_nonzero(~np.isfinite(rows).all(axis=1))
    if broken:
        raise ValueError(
            f"rows must be finite; {broken} of {len(rows)} have NaN or infinite "
            "entries. Did training diverge, or half precision overflow?"
        )


def _write_metadata(path: pathlib.Path, images: ImageSet, indices: np.ndarray) -> None:
    lines = ["class\timage\tclass number"]
    for index in indices.tolist():
        label = int(images.labels[index])
        names = images.class_names[label], images.image_name(index)
        lines.append("\t".join([*map(_in_a_cell, names), str(label)]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _in_a_cell(text: str) -> str:
    """Returns text without what ends a cell or a line: all white space is a blank."""
    return " ".join(text.split())


def _sprite(jpegs: Iterable[bytes], count: int) -> bytes:
    """Returns a JPEG of all thumbnails, row by row, grey where one cannot be read."""
    side = math.ceil(math.sqrt(count))
    shape = (side * side, _PIXELS, _PIXELS, 3)
    tiles: np.ndarray = np.full(shape, _EMPTY, np.uint8)
    for tile, jpeg in zip(tiles, jpegs, strict=False):
        if jpeg:
            large = tf.io.decode_jpeg(jpeg, channels=3)
            small = tf.image.resize(large, [_PIXELS, _PIXELS], antialias=True)
            tile[:] = tf.saturate_cast(tf.round(small), tf.uint8).numpy()
    grid = tiles.reshape(side, side, _PIXELS, _PIXELS, 3).swapaxes(1, 2)
    pixels = grid.reshape(side * _PIXELS, side * _PIXELS, 3)
    return tf.io.encode_jpeg(pixels, quality=85, optimize_size=True).numpy()


def _config(path: pathlib.Path, name: str, folder: str) -> projector.ProjectorConfig:
    """Returns the list of embeddings at a path, with those of a name in a folder."""
    before, config = projector.ProjectorConfig(), projector.ProjectorConfig()
    if path.exists():
        text_format.Parse(path.read_text(encoding="utf-8"), before)
    config.embeddings.extend(e for e in before.embeddings if e.tensor_name != name)
    # Relative to the list, so that a run can be moved.
    embedding = config.embeddings.add(
        tensor_name=name,
        tensor_path=f"{folder}/rows.tsv",
        metadata_path=f"{folder}/metadata.tsv",
    )
    embedding.sprite.image_path = f"{folder}/sprite.jpg"
    embedding.sprite.single_image_dim.extend([_PIXELS, _PIXELS])
    return config


def _remove_unlisted(
    directory: pathlib.Path, config: projector.ProjectorConfig
) -> None:
    """Removes older embeddings, and what a killed program left."""
    listed = {pathlib.Path(e.tensor_path).parent.name for e in config.embeddings}
    for folder in directory.glob(f"{_FOLDER}*"):
        if folder.name not in listed:
            shutil.rmtree(folder)
