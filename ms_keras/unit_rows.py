"""Rows of norm 1, as losses and towers need them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def unit_rows(rows: tf.Tensor) -> tf.Tensor:
    """Divides every row by its Euclidean norm.

    A row of zeros has no direction: it stays zero and gets a zero gradient. Huge and
    tiny rows lose nothing: each is scaled by its largest entry before it is squared.

    Args:
        rows: `[batch, dim]` float32 or float64.

    Returns:
        `[batch, dim]` of the same dtype.
    """
    largest = tf.stop_gradient(tf.reduce_max(tf.abs(rows), axis=-1, keepdims=True))
    # Not `> 0`, which is false for NaN and would hide it in a row of zeros.
    alive = largest != 0.0
    # Both branches of a `where` are differentiated: the dead one must be finite.
    scaled = rows / tf.where(alive, largest, tf.ones_like(largest))
    # The largest entry is 1 now, and so is the least square norm of a row alive.
    units = tf.math.l2_normalize(scaled, axis=-1, epsilon=1.0)
    return tf.where(alive, units, tf.zeros_like(units))


@tf.custom_gradient
def unit_rows_of_a_loss(rows: tf.Tensor) -> Any:
    """Is `unit_rows` with its gradient in closed form: a third of the ops.

    Not for towers: converters to other formats lose the names of models that have
    gradients of their own.
    """
    units, _, _ = _scaled_twice(rows)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        # What changes the direction, over the norm. It starts from the rows again, so
        # that it has a gradient of its own; graphs compute what is the same once.
        units, largest, inverse = _scaled_twice(rows)
        along = tf.reduce_sum(upstream * units, axis=-1, keepdims=True)
        return tf.math.divide_no_nan((upstream - along * units) * inverse, largest)

    return units, gradient


def _scaled_twice(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns unit rows, their largest entries, and the second factor of the two."""
    largest = tf.reduce_max(tf.abs(rows), axis=-1, keepdims=True)
    # 0 for a row of zeros; NaN stays NaN.
    scaled = tf.math.divide_no_nan(rows, largest)
    square = tf.reduce_sum(tf.square(scaled), axis=-1, keepdims=True)
    # The largest entry is 1 now, and so is the least square norm of a row alive.
    inverse = tf.math.rsqrt(tf.maximum(square, 1.0))
    return scaled * inverse, largest, inverse
