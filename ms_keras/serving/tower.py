"""A tower as a SavedModel that TF Serving loads, with its preprocessing inside."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from ms_keras.serving.chunks import in_chunks
from ms_keras.serving.decoding import Decoded, decode_readable, require_readable
from ms_keras.serving.model_card import write_model_card
from ms_keras.serving.options import ServingOptions
from ms_keras.serving.versions import finished, unfinished_folder
from ms_keras.serving.warmup import write_warmup
from ms_keras.unit_rows import unit_rows
from ms_keras.variables import plain_variable

Signatures = dict[str, tf.types.experimental.ConcreteFunction]


class _Served(tf.Module):
    """The tower as functions over plain TensorFlow variables.

    A module that merely holds a Keras 3 model saves and loads in Python, but TF Serving
    then misses the variables: they have to hang on the module themselves.
    """

    def __init__(
        self, tower: tf.keras.Model, short_side: int, options: ServingOptions
    ) -> None:
        super().__init__()
        self.tower_variables = [plain_variable(v) for v in tower.variables]
        self._image_size = tower.input_shape[1]
        self._short_side = short_side
        self._options = options
        dim = options.dim or tower.output_shape[-1]
        self._row = tf.TensorSpec((None, dim), options.output)
        # Behind a function: as an attribute, the Keras model would be saved along.
        self._tower = lambda images: tower(images, training=False)
        shape = (None, self._image_size, self._image_size, 3)
        # No signature, but saved: other formats know no loops, and convert this.
        self.rows = tf.function(
            self._rows, [tf.TensorSpec(shape, tf.float32, name="images")]
        )

    def embed(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeds pixels."""
        images = self._of_allowed_number(images, "images")
        (rows,) = in_chunks(lambda some: [self._rows(some)], images, [self._row])
        return {"embeddings": rows}

    def embed_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeds encoded images, resized and cropped as in scoring."""
        rows, readable = self._rows_of_files(image_bytes)
        checked = require_readable(Decoded(rows, readable), self._options.max_pixels)
        return {"embeddings": checked}

    def embed_bytes_safe(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeds those of the encoded images that can be read; the others give 0."""
        rows, readable = self._rows_of_files(image_bytes)
        return {
            "embeddings": tf.where(readable[:, tf.newaxis], rows, tf.zeros_like(rows)),
            "readable": readable,
        }

    def signatures(self) -> Signatures:
        """Returns what the SavedModel offers by name."""
        shape = (None, self._image_size, self._image_size, 3)
        images = tf.TensorSpec(shape, tf.float32, name="images")
        files = tf.TensorSpec((None,), tf.string, name="image_bytes")
        return {
            "serving_default": tf.function(self.embed).get_concrete_function(images),
            "embed_bytes": tf.function(self.embed_bytes).get_concrete_function(files),
            "embed_bytes_safe": tf.function(
                self.embed_bytes_safe
            ).get_concrete_function(files),
        }

    def _rows_of_files(self, image_bytes: tf.Tensor) -> list[tf.Tensor]:
        """Returns embeddings of encoded images, and which of them were readable."""
        options = self._options

        def of_some(some: tf.Tensor) -> list[tf.Tensor]:
            images, readable = decode_readable(
                some, self._image_size, self._short_side, options.max_pixels
            )
            return [self._rows(images), readable]

        files = self._of_allowed_number(image_bytes, "image_bytes")
        return in_chunks(of_some, files, [self._row, tf.TensorSpec((None,), tf.bool)])

    def _rows(self, images: tf.Tensor) -> tf.Tensor:
        """Returns embeddings of pixels, cut and rounded as the options say."""
        rows = self._tower(images)
        if self._options.dim:
            rows = unit_rows(rows[:, : self._options.dim])
        if self._options.output == "int8":
            rows = tf.cast(tf.round(127 * rows), tf.int8)
        return rows

    def _of_allowed_number(self, rows: tf.Tensor, name: str) -> tf.Tensor:
        count, limit = tf.shape(rows)[0], self._options.max_batch
        message = tf.strings.format(
            f"{name} holds {{}} images; a request may hold {limit} at most. Split it.",
            count,
        )
        with tf.control_dependencies([tf.debugging.Assert(count <= limit, [message])]):
            return tf.identity(rows)


def save_serving_model(
    tower: tf.keras.Model,
    directory: str | os.PathLike[str],
    *,
    short_side: int,
    options: ServingOptions | None = None,
    card: Mapping[str, Any] | None = None,
    warmup: bool = False,
    numbered: bool = False,
) -> Path:
    """Saves a tower for serving, with the preprocessing inside.

    The SavedModel needs no Keras and nothing of this package. All its signatures give
    `embeddings`, `[batch, dim]` of norm 1, float32 or int8:

    - `serving_default` takes `images`, `[batch, size, size, 3]` float32 of 0-255;
    - `embed_bytes` takes `image_bytes`, `[batch]` strings, JPEG or PNG files, which are
      turned upright, resized and cropped as in scoring; one that cannot be read fails
      the request with INVALID_ARGUMENT, which names its place;
    - `embed_bytes_safe` takes the same and also gives `readable`, `[batch]` bool; what
      cannot be read has a row of zeros.

    Args:
        tower: A model that `build_tower` made, trained under any strategy or dtype
            policy.
        directory: The folder to make. It appears when it is complete, so that a
            server that watches its parent never sees half of it.
        short_side: For `embed_bytes`, what the short side of an image is resized to
            before the centre crop, in pixels; at least the tower's image size.
        options: Length and type of embeddings, limits. Defaults to `None`: as trained.
        card: What is written of the model to `assets/model_card.json`, with what can
            be told of any. Defaults to `None`: the latter alone.
        warmup: Whether to write requests that TF Serving runs before it announces the
            version. Defaults to `False`.
        numbered: Whether `directory` is the folder of a model's versions, in which the
            next one is made. Its number is chosen when it is complete, so that another
            export may go on meanwhile. Defaults to `False`.

    Returns:
        The folder made.

    Raises:
        FileExistsError: If the folder exists.
        ValueError: If the tower takes no square images of fixed size, `short_side`
            is smaller than they are, embeddings have less entries than are to be kept,
            or warm-up requests cannot be written.
    """
    options = options or ServingOptions()
    _check(tower, short_side, options)
    target = Path(directory)
    with unfinished_folder(target, numbered=numbered) as unfinished:
        served = _Served(tower, short_side, options)
        signatures = served.signatures()
        tf.saved_model.save(served, str(unfinished), signatures=signatures)
        about = _about(tower, short_side, options, card or {})
        write_model_card(unfinished, signatures, about)
        if warmup:
            name = unfinished.absolute().parent.name
            limits = {"max_batch": options.max_batch, "max_pixels": options.max_pixels}
            write_warmup(unfinished, signatures, model=name, **limits)
        return finished(unfinished, target, numbered=numbered)


def _about(
    tower: tf.keras.Model,
    short_side: int,
    options: ServingOptions,
    card: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns a card with what can be told of any tower added."""
    entries = tower.output_shape[-1]
    embeddings = {"dim": options.dim or entries, "output": options.output}
    about = {
        "preprocessing": {
            "image_size": tower.input_shape[1],
            "short_side": short_side,
            "max_batch": options.max_batch,
            "max_pixels": options.max_pixels,
        },
        "embeddings": embeddings,
        **card,
    }
    if card.get("scores") and embeddings != {"dim": entries, "output": "float32"}:
        about["scores_are_of"] = (
            f"all {entries} entries as float32, not of embeddings cut or rounded"
        )
    return about


def _check(tower: tf.keras.Model, short_side: int, options: ServingOptions) -> None:
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
    if options.dim > tower.output_shape[-1]:
        raise ValueError(
            f"Of an embedding's {tower.output_shape[-1]} entries, dim={options.dim} "
            "cannot be kept. Lower it, or leave it at 0 for all."
        )
