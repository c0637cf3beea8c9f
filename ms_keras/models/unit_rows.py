"""Unit-norm rows that survive a row of zeros, forward and backward."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from ms_keras.unit_rows import unit_rows


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class UnitRows(tf.keras.layers.Layer):
    """Divides every row by its Euclidean norm, in float32 whatever the dtype policy.

    A row of zeros (a picture whose features all died) has no direction: it stays zero
    and gets a zero gradient. `tf.keras.layers.UnitNormalization` gives it a gradient
    of 1e6 (Keras 2) or 1e12 (Keras 3) instead, and one such picture ends a training.

    Call arguments:
        rows: `[batch, dim]` floats.
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)

    def call(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, dim]` float32 of norm 1 (0 for a zero row)."""
        return unit_rows(rows)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape unchanged."""
        return input_shape
