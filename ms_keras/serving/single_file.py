"""What ONNX and LiteRT exports share: their source, their target, what they try."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ms_keras.retrieval.saved_tower import SavedTower, load_saved_model
from ms_keras.serving.whole_files import whole_file

_CELLS = 8  # of a generated image, along each side


def source_function(
    source: SavedTower, batch: int | None
) -> tf.types.experimental.ConcreteFunction:
    """Traces a tower for batches of a size.

    Args:
        source: The tower.
        batch: Images in a batch; `None` for any number.

    Returns:
        From `images`, `[batch, size, size, 3]` float32, to a dictionary with
        `embeddings`, `[batch, dim]` float32.

    Raises:
        ValueError: If its embeddings are not float32.
    """
    shape = (batch, source.image_size, source.image_size, 3)
    function = tf.function(
        lambda images: {"embeddings": source.model(images)}, autograph=False
    ).get_concrete_function(tf.TensorSpec(shape, tf.float32, name="images"))
    dtype = function.structured_outputs["embeddings"].dtype
    if dtype != tf.float32:
        raise ValueError(
            f"Expected a tower that gives float32 embeddings; got {dtype.name}. Export "
            "the run again, with float32 embeddings, and convert that."
        )
    return function


def frozen(function: Any) -> Any:
    """Returns a concrete function with its variables as constants, conditions whole."""
    # TensorFlow's own converters and tf2onnx take it from here; it has no other name.
    module = importlib.import_module("tensorflow.python.framework.convert_to_constants")
    with silent():
        return module.convert_variables_to_constants_v2(
            function, lower_control_flow=False
        )


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keeps from the user what TensorFlow warns of its own former functions."""
    logger = tf.get_logger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


class Source(NamedTuple):
    """A tower that is to be converted.

    Attributes:
        served: What its `serving_default` does, to compare with.
        rows: The same without the parts that long batches are taken in: no other format
            knows such loops.
    """

    served: SavedTower
    rows: SavedTower


def load_source(tower: str | os.PathLike[str]) -> Source:
    """Loads the SavedModel that is to be converted.

    Raises:
        ValueError: If it is no SavedModel of a tower.
    """
    if os.path.isfile(tower):
        raise ValueError(
            f"{tower} is a file; expected the folder of a SavedModel that "
            "export.saved_model made, such as models/birds/1."
        )
    served = load_saved_model(tower)
    loaded = tf.saved_model.load(str(tower))
    if not hasattr(loaded, "rows"):  # of another program, which knows no loops
        return Source(served, served)
    rows = SavedTower(lambda images: loaded.rows(images), served.image_size)
    return Source(served, rows)


def new_file(path: str | os.PathLike[str], suffix: str) -> Path:
    """Returns a path at which a file can be made.

    Args:
        path: The file to make.
        suffix: How its name has to end, `".onnx"` or `".tflite"`: scoring tells files
            by their names.

    Raises:
        ValueError: If there is something already, or the name ends otherwise.
    """
    target = Path(path)
    if target.suffix != suffix:
        raise ValueError(f"The file's name must end in {suffix}; got {target.name}.")
    if target.exists():
        raise ValueError(f"{target} exists already. Remove it, or name another file.")
    return target


def write_whole(target: Path, content: bytes) -> None:
    """Writes a file that appears complete or not at all.

    Raises:
        FileExistsError: If a file of that name was made meanwhile.
    """
    with whole_file(target) as beside:
        beside.write_bytes(content)


def generated_images(count: int, size: int) -> np.ndarray:
    """Returns images of smooth random colours, more alike to photographs than noise.

    Args:
        count: How many; the same ones every time.
        size: Height and width, in pixels.

    Returns:
        `[count, size, size, 3]` float32 in 0-255.
    """
    cells = np.random.default_rng(0).uniform(0, 255, (count, _CELLS, _CELLS, 3))
    return tf.image.resize(cells.astype(np.float32), (size, size)).numpy()
