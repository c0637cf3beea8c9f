"""Class labels as exact integers, whatever Keras does to them on the way."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

_LIMB_BITS = 22  # a float32 holds integers exactly up to 24 bits
# Keras 2, which has no `ops`, hands labels on as they are.
_KERAS_CASTS_LABELS = hasattr(tf.keras, "ops")


class SplitLabels(NamedTuple):
    """Integer labels cut into limbs that survive a cast to float32.

    Keras 3 casts `y_true` to the loss's floating dtype before `Loss.call` sees it,
    and float32 merges neighbouring ids from 2**24 on. Limbs of 22 bits do not.
    """

    high: tf.Tensor
    middle: tf.Tensor
    low: tf.Tensor


def through_keras(labels: tf.Tensor) -> tf.Tensor | SplitLabels:
    """Returns `[batch]` int64 labels in a form that `Loss.call` gets exact."""
    return split_labels(labels) if _KERAS_CASTS_LABELS else labels


def split_labels(labels: tf.Tensor) -> SplitLabels:
    """Cuts `[batch]` int64 labels into three exact limbs."""
    mask = tf.constant((1 << _LIMB_BITS) - 1, labels.dtype)
    return SplitLabels(
        high=tf.bitwise.right_shift(labels, 2 * _LIMB_BITS),
        middle=tf.bitwise.bitwise_and(tf.bitwise.right_shift(labels, _LIMB_BITS), mask),
        low=tf.bitwise.bitwise_and(labels, mask),
    )


def join_labels(parts: SplitLabels) -> tf.Tensor:
    """Puts limbs, as integers or as exact floats, back together to int64 labels."""
    high, middle, low = (tf.cast(part, tf.int64) for part in parts)
    return (high * (1 << _LIMB_BITS) + middle) * (1 << _LIMB_BITS) + low


def integer_labels(labels: tf.Tensor, what: str = "labels") -> tf.Tensor:
    """Returns class labels as `[batch]` int64.

    Args:
        labels: `[batch]` or `[batch, 1]`, of any integer, boolean, float32 or float64
            dtype (floats are taken as the integers they hold), or `SplitLabels`.
        what: The argument's name in error messages.

    Raises:
        ValueError: If the labels are strings, of a half-precision dtype (which merges
            ids from 2**8 or 2**11 on), or of another shape.
    """
    if isinstance(labels, SplitLabels):
        return join_labels(labels)
    labels = tf.convert_to_tensor(labels)
    if not (
        labels.dtype.is_integer
        or labels.dtype.is_bool
        or labels.dtype in (tf.float32, tf.float64)
    ):
        raise ValueError(
            f"{what} must be integer class ids; got dtype {labels.dtype.name}. Map "
            "names to ids first, for example with tf.keras.layers.StringLookup or "
            "numpy.unique(names, return_inverse=True), and keep ids out of half "
            "precision."
        )
    rank = labels.shape.rank
    if rank not in (None, 1) and not (rank == 2 and labels.shape[1] in (1, None)):
        raise ValueError(
            f"{what} must have shape [batch] or [batch, 1]; got {labels.shape}. "
            "One-hot labels become class ids with tf.argmax(labels, axis=-1)."
        )
    return tf.cast(tf.reshape(labels, [-1]), tf.int64)
