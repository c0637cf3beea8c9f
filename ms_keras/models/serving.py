"""Exporting a tower as a SavedModel that TF Serving loads."""

from __future__ import annotations

import os
import pathlib
import shutil

import tensorflow as tf

from ms_keras.data.images import decode_for_scoring


def save_serving_model(
    tower: tf.keras.Model, directory: str | os.PathLike[str], *, short_side: int
) -> None:
    """Writes a SavedModel with two signatures and the tower's own numbers.

    - `serving_default` takes `images`, `[batch, size, size, 3]` float32 RGB in 0-255;
    - `embed_bytes` takes `image_bytes`, `[batch]` strings, JPEG or PNG files, which it
      decodes, resizes and crops as scoring does.

    Both give `embeddings`, `[batch, dim]` float32 of norm 1. The model loads without
    this package. It is complete or absent: written beside, and renamed.

    Args:
        tower: A model that `build_tower` made.
        directory: Where to write; for TF Serving it ends in a version number.
        short_side: What short sides are resized to before the centre crop, in pixels.

    Raises:
        ValueError: If the directory exists.
    """
    target = pathlib.Path(directory)
    if target.exists():
        raise ValueError(f"{target} exists. Export to another version's directory.")
    target.parent.mkdir(parents=True, exist_ok=True)
    # A name that starts with a dot is no version to TF Serving, which watches here.
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    module = _ServingTower(tower, short_side)
    try:
        tf.saved_model.save(
            module,
            str(beside),
            signatures={
                "serving_default": module.embed_images,
                "embed_bytes": module.embed_bytes,
            },
        )
        os.replace(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


class _ServingTower(tf.Module):
    def __init__(self, tower: tf.keras.Model, short_side: int) -> None:
        super().__init__()
        size = int(tower.input_shape[1])
        # A module that merely holds a Keras 3 model saves without its variables, which
        # TF Serving then does not find: `value` is the TensorFlow variable inside. In
        # Keras 2 variables are TensorFlow's own, and `value` is a method.
        self._variables = [
            v if callable(v.value) else v.value for v in tower.variables
        ]

        def embed_images(images: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"embeddings": tower(images, training=False)}

        def embed_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            images = tf.map_fn(
                lambda encoded: decode_for_scoring(encoded, size, short_side),
                image_bytes,
                fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32),
            )
            return embed_images(images)

        self.embed_images = tf.function(
            embed_images,
            input_signature=[
                tf.TensorSpec([None, size, size, 3], tf.float32, "images")
            ],
        )
        self.embed_bytes = tf.function(
            embed_bytes,
            input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")],
        )
