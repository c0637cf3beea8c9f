"""Rows of norm 1, as losses, towers and searches need them."""

from __future__ import annotations

import tensorflow as tf


def unit_rows(rows: tf.Tensor) -> tf.Tensor:
    """Divides every row by its Euclidean norm.

    Each row is scaled by its largest entry first, so that squares neither overflow nor
    vanish; the norm is then 1 at least, which makes 1 a safe lower bound. A row of
    zeros stays zero and gets a finite gradient.

    Args:
        rows: `[rows, dim]` float32 or float64.

    Returns:
        `[rows, dim]` of the same dtype.
    """
    largest = tf.reduce_max(tf.abs(rows), axis=-1, keepdims=True)
    scale = tf.stop_gradient(tf.where(largest > 0, largest, tf.ones_like(largest)))
    return tf.math.l2_normalize(rows / scale, axis=-1, epsilon=1.0)
