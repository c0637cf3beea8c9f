"""What the engine's two ways of computing share."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from ms_keras.losses.pairs import PairBatch


@tf.custom_gradient
def differentiated_once(gradient: tf.Tensor, embeddings: tf.Tensor) -> Any:
    """Returns a gradient as it is, whose own gradient is an error, or NaN under XLA.

    How pair weights depend on the embeddings is not tracked: without this a second
    derivative would silently lack that part.
    """

    def refuse(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # At run time: with a persistent tape TensorFlow prepares what nobody asks for.
        refusal = tf.debugging.Assert(
            False,
            [
                "The gradient of a pair loss has no gradient of its own. For second "
                "derivatives, restate the loss in plain ops."
            ],
        )
        with tf.control_dependencies([] if refusal is None else [refusal]):
            return upstream * float("nan"), embeddings * float("nan")

    return tf.identity(gradient), refuse


def both_gradients(weights: tf.Tensor, pairs: PairBatch) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the gradients by anchors and by references from d loss / dS `[m, n]`."""
    return (
        tf.matmul(weights, pairs.references),
        tf.matmul(weights, pairs.anchors, transpose_a=True),
    )


def not_hiding_nan(losses: tf.Tensor, pairs: PairBatch) -> tf.Tensor:
    """Returns the losses `[m]`, NaN where a similarity of the anchor is.

    Comparisons with NaN keep no pair: without this such a loss would look like 0. A
    unit row is NaN as a whole or not at all, so its first number tells.
    """
    of_anchors, of_references = (
        tf.reduce_any(tf.math.is_nan(rows[:, :1]), axis=1)
        for rows in (pairs.anchors, pairs.references)
    )
    broken = of_anchors | tf.reduce_any(of_references)
    return tf.where(broken, tf.constant(float("nan"), losses.dtype), losses)
