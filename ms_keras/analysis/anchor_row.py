"""The weights a loss gives to one anchor's pairs, at similarities of one's choice."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from ms_keras.losses import PairLoss


def row_weights(
    loss: PairLoss, positives: np.ndarray, negatives: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns how hard each pair of an anchor pulls, for many rows of similarities.

    Real embeddings are built for every row: the anchor is the first axis, and the
    reference with similarity S to it is S times that axis plus sqrt(1 - S^2) times an
    axis of its own. Each negative is of a class of its own.

    Args:
        loss: Whose weights.
        positives: `[rows, p]` cosine similarities of the positive pairs.
        negatives: `[rows, n]` cosine similarities of the negative pairs.

    Returns:
        `[rows, p]` and `[rows, n]` float64, without their sign.
    """
    similarities = np.concatenate([positives, negatives], axis=1).astype(np.float64)
    first, pairs = positives.shape[1], similarities.shape[1]
    own = np.sqrt(1 - similarities**2)[:, :, np.newaxis] * np.eye(pairs)
    references = np.concatenate([similarities[:, :, np.newaxis], own], axis=2)
    weights_of = _compiled(loss, first, pairs)
    weights = np.abs(weights_of(tf.constant(references)).numpy())
    return weights[:, :first], weights[:, first:]


@functools.lru_cache(maxsize=64)
def _compiled(
    loss: PairLoss, positives: int, pairs: int
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function of references `[rows, pairs, 1 + pairs]`, traced once."""
    anchor = np.eye(1, 1 + pairs)
    label: np.ndarray = np.zeros(1, np.int64)
    labels = np.maximum(np.arange(pairs) - positives + 1, 0)

    @tf.function(autograph=False)
    def weights_of(rows: tf.Tensor) -> tf.Tensor:
        # One row at a time: a loss may look at all anchors of a batch together.
        return tf.map_fn(
            lambda row: loss.pair_weights(label, anchor, labels, row)[0], rows
        )

    shape = [None, pairs, 1 + pairs]
    return weights_of.get_concrete_function(tf.TensorSpec(shape, tf.float64))
