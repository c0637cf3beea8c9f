"""Reductions of rows, and over the kept pairs of each: `[m, n]` to `[m]`."""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

_NO_BOUND = float("inf")
# exp(65) is 2e28: float32 has room for the sum of ten thousand million of them, and
# exp(-65) is far from 0.
_ROOM = 65.0
# Of a row: parts that meet, and a matrix that is not worth it.
_PARTS, _SMALL = 8, 1 << 16


def count(kept: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns the number of kept pairs per row, as a float."""
    return row_sum(tf.cast(kept, dtype))


def share(kept: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns what each kept pair weighs in the row's mean; 0 for an empty row."""
    return tf.math.divide_no_nan(tf.ones([], dtype), count(kept, dtype))


def total(values: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """Returns the sum of the kept values per row."""
    return row_sum(tf.where(kept, values, tf.zeros_like(values)))


def signed(
    positives: tf.Tensor, pull: tf.Tensor, negatives: tf.Tensor, push: tf.Tensor
) -> tf.Tensor:
    """Returns weights: -pull for kept positives, push for kept negatives, else 0."""
    return chosen(positives, -pull, negatives, push)


def chosen(
    positives: tf.Tensor, first: tf.Tensor, negatives: tf.Tensor, second: tf.Tensor
) -> tf.Tensor:
    """Returns the first for kept positives, the second for kept negatives, else 0."""
    nothing = tf.zeros([], first.dtype)
    return tf.where(positives, first, tf.where(negatives, second, nothing))


def only_where(condition: tf.Tensor, logarithms: tf.Tensor) -> tf.Tensor:
    """Returns logarithms, -inf where the condition does not hold."""
    return tf.where(condition, logarithms, tf.constant(-float("inf"), logarithms.dtype))


def largest(values: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """Returns the largest kept value per row; -inf for an empty row."""
    return row_max(tf.where(kept, values, -float("inf")))


def least(values: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """Returns the least kept value per row; inf for an empty row."""
    return row_min(tf.where(kept, values, float("inf")))


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


def row_sum(values: tf.Tensor, keepdims: bool = False) -> tf.Tensor:
    """Returns the sum per row: `[m]`, or `[m, 1]` with `keepdims`."""
    return _reduced(values, tf.add, tf.reduce_sum, keepdims)


def row_max(values: tf.Tensor, keepdims: bool = False) -> tf.Tensor:
    """Returns the largest value per row: `[m]`, or `[m, 1]` with `keepdims`."""
    return _reduced(values, tf.maximum, tf.reduce_max, keepdims)


def row_min(values: tf.Tensor) -> tf.Tensor:
    """Returns the least value per row: `[m]`."""
    return _reduced(values, tf.minimum, tf.reduce_min)


def _reduced(
    values: tf.Tensor,
    of_two: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    of_row: Callable[..., tf.Tensor],
    keepdims: bool = False,
) -> tf.Tensor:
    """Returns the sum, the largest or the least per row.

    On CPUs XLA goes through a row one number after another, but through two matrices
    with vector units: parts of the rows meet before what is left is gone through.
    """
    size = values.shape.num_elements()
    if size is not None and size <= _SMALL:
        return of_row(values, axis=1, keepdims=keepdims)
    width = tf.shape(values)[1] // _PARTS
    parts = [values[:, k * width : (k + 1) * width] for k in range(_PARTS)]
    met = functools.reduce(of_two, parts)
    rest = values[:, _PARTS * width :]
    return of_two(*(of_row(part, axis=1, keepdims=keepdims) for part in (met, rest)))
