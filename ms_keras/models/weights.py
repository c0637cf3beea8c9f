"""Weights of backbones and of whole towers, from files."""

from __future__ import annotations

import io
import os
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import tensorflow as tf

_TOWER_SUFFIXES = (".keras", ".weights.h5")
BACKBONE_SUFFIXES = (".h5", ".hdf5")
# The attribute by which a file that `save_backbone_weights` wrote tells whose it is.
_BACKBONE = "ms_keras_backbone"
# Groups of a file whose arrays are not the model's weights.
_STATE_GROUPS = ("optimizer", "metrics", "compile_metrics", "seed_generator")


def weights_sources(
    weights: str | os.PathLike[str] | None,
) -> tuple[str | Path | None, Path | None]:
    """Checks what a user gives as weights, and tells whose they are.

    Args:
        weights: `"imagenet"`, a path, or `"none"` or `None` for random ones.

    Returns:
        For the backbone: `"imagenet"`, the path of its weights file, or `None`; and for
        the whole tower: the path of its weights file, or `None`.

    Raises:
        ValueError: If there is no such file, or its ending is not a weights file's.
    """
    if weights is None or weights == "none":
        return None, None
    if weights == "imagenet":
        return "imagenet", None
    path = Path(weights).expanduser()
    if not path.is_file():
        raise ValueError(
            f"weights must be 'imagenet', 'none' or an existing file; got "
            f"{str(weights)!r}, and there is no such file."
        )
    if _saved_backbone(path) is not None:
        return path, None
    if path.name.endswith(_TOWER_SUFFIXES):
        return None, path
    if path.name.endswith(BACKBONE_SUFFIXES):
        return path, None
    raise ValueError(
        "A weights file ends in .h5 (a backbone's, as Keras's applications publish "
        "them, or a converted one's), or in .weights.h5 or .keras (a whole tower's); "
        f"got {str(weights)!r}."
    )


def load_backbone_weights(backbone: tf.keras.Model, path: Path, name: str) -> None:
    """Loads the weights file of a network without its classification top.

    Args:
        backbone: The network to fill, of any image size.
        path: An `.h5` file, such as Keras's `*_no_top.h5`, or what
            `save_backbone_weights` wrote.
        name: The backbone's name for error messages.

    Raises:
        ValueError: If the file is damaged or belongs to another network.
    """
    try:
        if _saved_backbone(path) is None:
            backbone.load_weights(str(path))
        else:
            _fill_by_name(backbone, path)
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(
            f"{path} does not hold the weights of backbone {name!r} without its "
            f"classification top: {error} Pass the file that Keras publishes for it "
            "(*_no_top.h5) or that was converted for it, or name the backbone that the "
            "file belongs to."
        ) from error


def save_backbone_weights(backbone: tf.keras.Model, path: Path) -> None:
    """Writes the weights of a network whose layers have names of their own.

    Keras 2 and 3 lay out a `.weights.h5` differently, and neither reads the other's.
    This file has a group per layer and in it an array per weight, such as
    `conv1_7x7_s2/kernel`; `load_backbone_weights` reads it on both.

    Args:
        backbone: The network.
        path: The file. It appears, or replaces another, when it is complete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with h5py.File(unfinished, "w") as file:
            file.attrs[_BACKBONE] = backbone.name
            for layer in backbone.layers:
                weights = layer.get_weights()
                for name, value in zip(_weight_names(layer), weights, strict=True):
                    file[name] = value
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _saved_backbone(path: Path) -> str | None:
    """Returns whose weights `save_backbone_weights` wrote there, if it did."""
    try:
        with h5py.File(path, "r") as file:
            return file.attrs.get(_BACKBONE)
    except OSError:  # no HDF5 file, or half of one: whoever loads it complains
        return None


def _fill_by_name(backbone: tf.keras.Model, path: Path) -> None:
    with h5py.File(path, "r") as file:
        if file.attrs[_BACKBONE] != backbone.name:
            raise ValueError(f"it was saved from {file.attrs[_BACKBONE]!r}.")
        for layer in backbone.layers:
            names = _weight_names(layer)
            missing = [name for name in names if name not in file]
            if missing:
                raise ValueError(f"it lacks {', '.join(missing)}.")
            layer.set_weights([file[name][()] for name in names])


def _weight_names(layer: tf.keras.layers.Layer) -> list[str]:
    """Returns names such as `conv1_7x7_s2/kernel`.

    Keras 2 calls that weight `conv1_7x7_s2/kernel:0`, Keras 3 `kernel`.
    """
    names = [weight.name.rpartition("/")[2] for weight in layer.weights]
    return [f"{layer.name}/{name.partition(':')[0]}" for name in names]


def load_tower_weights(tower: tf.keras.Model, path: Path) -> None:
    """Loads the weights of a whole tower, backbone and embedding.

    Args:
        tower: The tower to fill.
        path: A `.weights.h5` file, or a `.keras` file of which only the weights count.

    Raises:
        ValueError: If the file is damaged or belongs to a tower of another
            architecture.
    """
    try:
        found = _shapes_in(path)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a weights file: {error}") from error
    # Keras ignores what a file holds beyond the model, so a larger network's file
    # could fill a smaller one without a word.
    expected = Counter(tuple(weight.shape) for weight in tower.weights)
    if found != expected:
        raise ValueError(
            f"{path} does not hold the weights of this tower: {found.total()} arrays "
            f"in the file, {expected.total()} in the tower; first unmatched shapes "
            f"{list((found - expected).elements())[:3]} and "
            f"{list((expected - found).elements())[:3]}. Build the tower with the "
            "backbone, width and embedding_dim that the file was saved with."
        )
    tower.load_weights(str(path))


def _shapes_in(path: Path) -> Counter[tuple[int, ...]]:
    source: Any = path
    if path.name.endswith(".keras"):
        with zipfile.ZipFile(path) as archive:
            source = io.BytesIO(archive.read("model.weights.h5"))
    shapes: Counter[tuple[int, ...]] = Counter()

    def count(name: str, item: h5py.Group | h5py.Dataset) -> None:
        is_weight = not set(name.split("/")) & set(_STATE_GROUPS)
        if isinstance(item, h5py.Dataset) and is_weight:
            shapes[item.shape] += 1

    with h5py.File(source, "r") as file:
        file.visititems(count)
    return shapes
