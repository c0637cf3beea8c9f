"""Reductions over the kept pairs of each row, `[m, n]` to `[m]`."""

from __future__ import annotations

import functools

import tensorflow as tf

_NO_BOUND = float("inf")
# exp(65) is 2e28: float32 has room for the sum of ten thousand million of them, and
# exp(-65) is far from 0.
_ROOM = 65.0
# For the largest of a row: parts that meet, and pairs that are not worth it.
_PARTS, _FEW = 16, 512


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


def signed_exp(
    positives: tf.Tensor, pull: tf.Tensor, negatives: tf.Tensor, push: tf.Tensor
) -> tf.Tensor:
    """Returns `signed` of the exponentials, of which it computes one per pair."""
    weights = tf.exp(tf.where(positives, pull, push))
    return signed(positives, weights, negatives, weights)


def largest(values: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """Returns the largest kept value per row; -inf for an empty row."""
    values = tf.where(kept, values, -float("inf"))
    if values.shape[1] is not None and values.shape[1] < _FEW:
        return tf.reduce_max(values, axis=1)
    # On CPUs XLA goes through a row one number after another, but compares matrices
    # with vector units: parts of the rows meet before what is left is gone through.
    width = tf.shape(values)[1] // _PARTS
    parts = [values[:, k * width : (k + 1) * width] for k in range(_PARTS)]
    rest = values[:, _PARTS * width :]
    met = functools.reduce(tf.maximum, parts)
    return tf.maximum(tf.reduce_max(met, axis=1), tf.reduce_max(rest, axis=1))


def least(values: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """Returns the least kept value per row; inf for an empty row."""
    return -largest(-values, kept)


def log_sum_exp(
    exponents: tf.Tensor, kept: tf.Tensor, within: float = _NO_BOUND
) -> tf.Tensor:
    """Returns log(sum over kept of exp(x)) per row; -inf for an empty row.

    Args:
        exponents: `[m, n]`.
        kept: Mask of the same shape.
        within: No exponent is larger, or smaller than minus this. Where float32 has
            room for their exponentials, a search for the largest is spared. Defaults
            to infinity: nothing is known.
    """
    if within <= _ROOM:
        return tf.math.log(total(tf.exp(exponents), kept))
    shift = largest(exponents, kept)
    # Not -inf - -inf, which is NaN, in an empty row.
    shift = tf.where(tf.math.is_inf(shift), tf.zeros_like(shift), shift)
    return shift + tf.math.log(total(tf.exp(exponents - shift[:, tf.newaxis]), kept))


def log_one_plus_sum_exp(
    exponents: tf.Tensor, kept: tf.Tensor, at_most: float = _NO_BOUND
) -> tf.Tensor:
    """Returns log(1 + sum over kept of exp(x)) per row, without overflow.

    Args:
        exponents: `[m, n]`.
        kept: Mask of the same shape.
        at_most: No exponent is larger; as in `log_sum_exp`. Small ones do not matter,
            beside the 1.
    """
    if at_most <= _ROOM:
        return tf.math.log1p(total(tf.exp(exponents), kept))
    # The 1 is exp(0), so 0 takes part in the maximum: an empty row gives log(1).
    shift = tf.maximum(largest(exponents, kept), 0.0)
    sums = total(tf.exp(exponents - shift[:, tf.newaxis]), kept)
    return shift + tf.math.log(tf.exp(-shift) + sums)
