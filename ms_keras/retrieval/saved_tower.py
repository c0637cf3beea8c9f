"""An exported tower, loaded again to be scored."""

from __future__ import annotations

import os
import pathlib
from typing import NamedTuple

import tensorflow as tf

from ms_keras.retrieval.embedding import Model
from ms_keras.retrieval.tower_files import TowerFile, open_litert, open_onnx

_SIGNATURE = "serving_default"
_FILES = {".onnx": open_onnx, ".tflite": open_litert}


class SavedTower(NamedTuple):
    """What scoring needs of an exported tower.

    Attributes:
        model: From `[batch, image_size, image_size, 3]` float32 images in 0-255 to
            `[batch, dim]` float32 embeddings.
        image_size: Height and width of the images, in pixels.
    """

    model: Model
    image_size: int


def load_saved_tower(path: str | os.PathLike[str]) -> SavedTower:
    """Loads a tower for scoring: a SavedModel, or an `.onnx` or `.tflite` file.

    Args:
        path: Folder of a SavedModel whose `serving_default` takes `images` and gives
            `embeddings`, or a file that `export.onnx` or `export.litert` wrote. A file
            is run outside of TensorFlow's graph, on the CPU.

    Raises:
        ValueError: If there is none, it is damaged, its signature is another, or the
            package that runs it is missing.
    """
    open_file = _FILES.get(pathlib.Path(path).suffix)
    if open_file is None or os.path.isdir(path):
        return load_saved_model(path)
    try:
        content = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}. Check the path.") from error
    return _of_file(open_file(content, str(path)))


def load_saved_model(directory: str | os.PathLike[str]) -> SavedTower:
    """Loads a SavedModel whose `serving_default` takes `images`, gives `embeddings`.

    Raises:
        ValueError: If there is none, it is damaged, or its signature is another.
    """
    _check_folder(pathlib.Path(directory))
    try:
        loaded = tf.saved_model.load(str(directory))
    except (OSError, KeyError, tf.errors.OpError) as error:
        raise ValueError(
            f"{directory} holds a damaged SavedModel: {error}. Export it again."
        ) from error
    size = _image_size(directory, loaded)

    def model(images: tf.Tensor) -> tf.Tensor:
        # By way of `loaded`: a signature alone does not keep the variables alive.
        return loaded.signatures[_SIGNATURE](images=images)["embeddings"]

    return SavedTower(model, size)


def _of_file(file: TowerFile) -> SavedTower:
    def model(images: tf.Tensor) -> tf.Tensor:
        # Scoring stays in this process, so that a call back into Python is all right.
        rows = tf.numpy_function(file.embed, [images], tf.float32)
        return tf.ensure_shape(rows, (None, file.dim))

    return SavedTower(model, file.image_size)


def _check_folder(path: pathlib.Path) -> None:
    if (path / "saved_model.pb").is_file():
        return
    versions = sorted(str(file.parent) for file in path.glob("*/saved_model.pb"))
    mend = f"Did you mean {versions[-1]}?" if versions else "Check the path."
    raise ValueError(f"{path} holds no SavedModel (no file saved_model.pb). {mend}")


def _image_size(directory: str | os.PathLike[str], loaded: tf.Module) -> int:
    """Returns the height and width that the signature asks for."""
    expected = (
        f"{directory}: expected a signature {_SIGNATURE} from images "
        "[batch, size, size, 3] float32 to embeddings [batch, dim]"
    )
    if _SIGNATURE not in loaded.signatures:
        raise ValueError(f"{expected}; got signatures {list(loaded.signatures)}.")
    function = loaded.signatures[_SIGNATURE]
    takes = function.structured_input_signature[1]
    gives = function.structured_outputs
    images = takes.get("images")
    if len(takes) != 1 or images is None or "embeddings" not in gives:
        raise ValueError(f"{expected}; got {sorted(takes)} to {sorted(gives)}.")
    size = images.shape[1] if images.shape.rank == 4 else None
    if size is None or images.shape[1:].as_list() != [size, size, 3]:
        raise ValueError(f"{expected}; got images {images.shape}.")
    return int(size)
