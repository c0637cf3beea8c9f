"""Rows of norm 1."""

from __future__ import annotations

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
