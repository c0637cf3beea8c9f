"""What the engine's two ways of computing share."""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from ms_keras.losses.pairs import PairBatch


def compiled(function: Callable) -> tf.types.experimental.GenericFunction:
    """Returns a function compiled by XLA for each shape it meets."""
    # A partial of its own: TensorFlow would count the tracings of a method over all its
    # objects, and warn of many when several losses are in use.
    return tf.function(functools.partial(function), jit_compile=True, autograph=False)


def both_gradients(weights: tf.Tensor, pairs: PairBatch) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the gradients by anchors and by references from d loss / dS `[m, n]`."""
    return (
        tf.matmul(weights, pairs.references),
        tf.matmul(weights, pairs.anchors, transpose_a=True),
    )


def not_hiding_nan(losses: tf.Tensor, similarities: tf.Tensor) -> tf.Tensor:
    """Returns the losses `[m]`, NaN where a row of similarities has one.

    Comparisons with NaN keep no pair: without this such a loss would look like 0.
    """
    broken = tf.math.is_nan(tf.reduce_sum(similarities, axis=1))
    return tf.where(broken, tf.constant(float("nan"), losses.dtype), losses)
