"""Reductions over the kept pairs of each row, `[m, n]` to `[m]`."""

from __future__ import annotations

import tensorflow as tf


def count(kept: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns the number of kept pairs per row, as a float."""
    return tf.reduce_sum(tf.cast(kept, dtype), axis=1)


def share(kept: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns what each kept pair weighs in the row's mean; 0 for an empty row."""
    return tf.math.divide_no_nan(tf.ones([], dtype), count(kept, dtype))


def total(values: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """Returns the sum of the kept values per row."""
    return tf.reduce_sum(tf.where(kept, values, tf.zeros_like(values)), axis=1)


def signed(
    positives: tf.Tensor, pull: tf.Tensor, negatives: tf.Tensor, push: tf.Tensor
) -> tf.Tensor:
    """Returns weights: -pull for kept positives, push for kept negatives, else 0."""
    nothing = tf.zeros_like(pull)
    return tf.where(positives, -pull, tf.where(negatives, push, nothing))


def log_sum_exp(exponents: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """Returns log(sum over kept of exp(x)) per row; -inf for an empty row."""
    exponents = tf.where(kept, exponents, -float("inf"))
    largest = tf.reduce_max(exponents, axis=1)
    # Not -inf - -inf, which is NaN, in an empty row.
    largest = tf.where(tf.math.is_inf(largest), tf.zeros_like(largest), largest)
    sums = tf.reduce_sum(tf.exp(exponents - largest[:, tf.newaxis]), axis=1)
    return largest + tf.math.log(sums)


def log_one_plus_sum_exp(exponents: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """Returns log(1 + sum over kept of exp(x)) per row, without overflow."""
    exponents = tf.where(kept, exponents, -float("inf"))
    # The 1 is exp(0), so 0 takes part in the maximum: an empty row gives log(1).
    largest = tf.maximum(tf.reduce_max(exponents, axis=1), 0.0)
    sums = tf.reduce_sum(tf.exp(exponents - largest[:, tf.newaxis]), axis=1)
    return largest + tf.math.log(tf.exp(-largest) + sums)
