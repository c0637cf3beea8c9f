"""A tower as a SavedModel that TF Serving loads, with its preprocessing inside."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from ms_keras.data.images import decode_for_scoring


class _Served(tf.Module):
    """The tower as functions over plain TensorFlow variables.

    A module that merely holds a Keras 3 model saves and loads in Python, but TF Serving
    then misses the variables: they have to hang on the module themselves.
    """

    def __init__(self, tower: tf.keras.Model, short_side: int) -> None:
        super().__init__()
        self.tower_variables = [_plain(variable) for variable in tower.variables]
        self._image_size = tower.input_shape[1]
        self._short_side = short_side
        self._dim = tower.output_shape[-1]
        # Behind a function: as an attribute, the Keras model would be saved along.
        self._embed = lambda images: tower(images, training=False)

    def embed(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeds pixels."""
        # TensorFlow's convolutions on a CPU return wrong shapes for an empty batch.
        embeddings = tf.cond(
            tf.shape(images)[0] == 0,
            lambda: tf.zeros((0, self._dim)),
            lambda: self._embed(images),
        )
        return {"embeddings": tf.ensure_shape(embeddings, (None, self._dim))}

    def embed_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeds encoded images, resized and cropped as in scoring."""
        shape = (self._image_size, self._image_size, 3)
        images = tf.map_fn(
            lambda encoded: decode_for_scoring(
                encoded, self._image_size, self._short_side
            ),
            image_bytes,
            fn_output_signature=tf.TensorSpec(shape, tf.float32),
        )
        return self.embed(images)

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Returns what the SavedModel offers by name."""
        shape = (None, self._image_size, self._image_size, 3)
        images = tf.TensorSpec(shape, tf.float32, name="images")
        image_bytes = tf.TensorSpec((None,), tf.string, name="image_bytes")
        return {
            "serving_default": tf.function(self.embed).get_concrete_function(images),
            "embed_bytes": tf.function(self.embed_bytes).get_concrete_function(
                image_bytes
            ),
        }


def save_serving_model(
    tower: tf.keras.Model, directory: str | os.PathLike[str], *, short_side: int
) -> None:
    """Saves a tower for serving, with the preprocessing inside.

    The SavedModel needs no Keras and nothing of this package. It has two signatures,
    both giving `embeddings`, `[batch, dim]` float32:

    - `serving_default` takes `images`, `[batch, size, size, 3]` float32 of 0-255;
    - `embed_bytes` takes `image_bytes`, `[batch]` strings, JPEG or PNG files, which are
      resized and cropped as in scoring.

    Args:
        tower: A model that `build_tower` made, trained under any strategy or dtype
            policy.
        directory: The folder to make. It appears when it is complete, so that a
            server that watches its parent never sees half of it.
        short_side: For `embed_bytes`, what the short side of an image is resized to
            before the centre crop, in pixels; at least the tower's image size.

    Raises:
        FileExistsError: If the folder exists.
        ValueError: If the tower takes no square images of fixed size, or `short_side`
            is smaller than they are.
    """
    _check_size(tower, short_side)
    with _complete_or_absent(Path(directory)) as unfinished:
        served = _Served(tower, short_side)
        tf.saved_model.save(served, str(unfinished), signatures=served.signatures())


def _plain(variable: tf.Variable) -> tf.Variable:
    """Returns the TensorFlow variable inside one of Keras 3."""
    return variable if callable(variable.value) else variable.value


def _check_size(tower: tf.keras.Model, short_side: int) -> None:
    shape = tuple(tower.input_shape)
    if len(shape) != 4 or shape[1] is None or shape[1] != shape[2]:
        raise ValueError(
            "Expected a tower over square images of a fixed size, as build_tower makes "
            f"it; got a model with input shape {shape}."
        )
    if short_side < shape[1]:
        raise ValueError(
            f"short_side must be at least the tower's image size {shape[1]}; got "
            f"{short_side}."
        )


@contextmanager
def _complete_or_absent(directory: Path) -> Iterator[Path]:
    """Yields a hidden sibling folder and renames it at the end, or removes it."""
    if directory.exists():
        raise FileExistsError(
            f"{directory} exists already. Remove it, or save to another folder."
        )
    directory.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its folders are closed to the account that the server runs under.
    unfinished = directory.parent / f".{directory.name}.{uuid.uuid4().hex}"
    try:
        yield unfinished
        unfinished.rename(directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
