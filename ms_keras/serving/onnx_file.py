"""A tower as an ONNX file, for servers and devices without TensorFlow."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np
import tensorflow as tf

from ms_keras.retrieval.saved_tower import SavedTower
from ms_keras.retrieval.tower_files import open_onnx
from ms_keras.serving.single_file import (
    frozen,
    generated_images,
    load_source,
    new_file,
    silent,
    source_function,
    write_whole,
)

OPSET = 17
TOLERANCE = 1e-4
_BATCHES = (0, 1, 2, 5)


def save_onnx(tower: str | os.PathLike[str], path: str | os.PathLike[str]) -> float:
    """Converts an exported tower to ONNX, and writes it if onnxruntime agrees.

    The file has one input, `images`, `[batch, size, size, 3]` float32 of 0-255, and one
    output, `embeddings`, `[batch, dim]` float32; a batch has any number of images.

    Args:
        tower: Folder of a SavedModel that `save_serving_model` made.
        path: The file to make, ending in `.onnx`. It appears when it is complete.

    Returns:
        The largest difference between an entry of the SavedModel's embeddings and of
        onnxruntime's, over generated images; at most 1e-4.

    Raises:
        ValueError: If there is no such SavedModel, the file exists, a package is
            missing, or the file does not run or gives other embeddings.
    """
    target = new_file(path, ".onnx")
    source = load_source(tower)
    content = _converted(source.rows)
    difference = _difference(content, source.served, str(target))
    if not difference <= TOLERANCE:  # nor NaN
        raise ValueError(
            "The converted tower gives embeddings that differ from the SavedModel's by "
            f"up to {difference:.2g}; {TOLERANCE:.0e} at most is taken for rounding. "
            f"{target} was not written: tf2onnx cannot convert this network faithfully."
        )
    write_whole(target, content)
    return difference


def _converted(source: SavedTower) -> bytes:
    """Returns the tower in ONNX."""
    tf2onnx = _import_tf2onnx()
    whole = frozen(source_function(source, batch=None))
    images, embeddings = whole.inputs[0].name, whole.outputs[0].name
    with silent():
        model, _ = tf2onnx.convert.from_graph_def(
            whole.graph.as_graph_def(),
            name="tower",
            input_names=[images],
            output_names=[embeddings],
            opset=OPSET,
            tensors_to_rename={images: "images", embeddings: "embeddings"},
        )
    return model.SerializeToString()


def _difference(content: bytes, source: SavedTower, name: str) -> float:
    """Returns how far apart the entries of embeddings get, in batches of any size."""
    converted = open_onnx(content, name)
    largest = 0.0
    for batch in _BATCHES:
        images = generated_images(batch, source.image_size)
        expected = source.model(tf.constant(images)).numpy()
        rows = converted.embed(images)
        if rows.shape != expected.shape:
            raise ValueError(
                f"The converted tower gives {rows.shape} for {batch} images; expected "
                f"{expected.shape}. {name} was not written."
            )
        largest = np.maximum(largest, np.abs(rows - expected).max(initial=0))
    return float(largest)


def _import_tf2onnx() -> Any:
    # Here and not above: only those who export to ONNX need the package.
    try:
        return importlib.import_module("tf2onnx")
    except ImportError as error:
        raise ValueError(
            f"Export to ONNX needs the package tf2onnx, which cannot be imported here: "
            f"{error}. Install it with: pip install 'ms_keras[onnx]'."
        ) from error
