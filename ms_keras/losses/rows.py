"""Rows of norm 1 for losses: as fast as they can be had, with their gradient."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from ms_keras.losses import masked
from ms_keras.losses.compiling import compiled_if_many


@tf.custom_gradient
def unit_rows_of_a_loss(rows: tf.Tensor) -> Any:
    """Is `ms_keras.unit_rows` with its gradient in closed form, compiled.

    Not for towers: converters to other formats lose the names of models that have
    gradients of their own.
    """
    units, norms = _units_and_norms(tf.stop_gradient(rows))
    return units, lambda upstream: _gradient(units, norms, upstream)


@compiled_if_many
def _units_and_norms(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns rows of norm 1, `[m, dim]`, and the norms that they had, `[m, 1]`."""
    largest = masked.row_max(tf.abs(rows), keepdims=True)
    # 0 for a row of zeros; NaN stays NaN.
    scaled = tf.math.divide_no_nan(rows, largest)
    # The largest entry is 1 now, and so is the least square norm of a row alive.
    square = tf.maximum(masked.row_sum(tf.square(scaled), keepdims=True), 1.0)
    inverse = tf.math.rsqrt(square)
    return scaled * inverse, largest / inverse


@compiled_if_many
def _gradient(units: tf.Tensor, norms: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Returns what changes the direction, over the norm."""
    along = masked.row_sum(upstream * units, keepdims=True)
    return tf.math.divide_no_nan(upstream - along * units, norms)
