"""The exact nearest rows of a catalogue, in ops that every TF Serving has."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

# Rows compared at a time. On 2 cores and 200,000 x 512 rows, eight queries took 0.6 of
# the time that one product with all rows took, one query 1.2 of it; and the
# similarities of a request take 2 MB instead of 50.
_ROWS = 8192
DTYPES = ("float32", "bfloat16")


class ExactLookup(tf.Module):
    """Compares each query with all rows; equals come by rising index.

    Args:
        rows: `[n, dim]` float32 of norm 1.
        dtype: What they are kept as: `"float32"`, or `"bfloat16"`, half the memory,
            with cosines up to 0.004 off. Similarities are summed in float32 either way.

    Attributes:
        rows: The variable that holds them, `[n, dim]`.
    """

    def __init__(self, rows: np.ndarray, dtype: str = "float32") -> None:
        super().__init__()
        # A variable, not a constant: the file of a graph may have 2 GB at most.
        self.rows = tf.Variable(tf.cast(rows, dtype), trainable=False)

    def nearest(self, queries: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the nearest rows.

        Args:
            queries: `[some, dim]` float32 of norm 1.
            k: How many; at most as there are rows.

        Returns:
            `[some, k]` int32 indices and float32 cosines, nearest first.
        """
        count = self.rows.shape[0]
        some = tf.shape(queries)[0]

        def compare(
            begin: tf.Tensor, indices: tf.Tensor, scores: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            block = tf.cast(self.rows[begin : begin + _ROWS], tf.float32)
            new = tf.matmul(queries, block, transpose_b=True)
            best = tf.math.top_k(new, tf.minimum(k, tf.shape(new)[1]))
            # Earlier rows stand before later ones: top_k keeps that order among equals.
            scores = tf.concat([scores, best.values], 1)
            indices = tf.concat([indices, best.indices + begin], 1)
            best = tf.math.top_k(scores, tf.minimum(k, tf.shape(scores)[1]))
            kept = tf.gather(indices, best.indices, batch_dims=1)
            return begin + _ROWS, kept, best.values

        _, indices, scores = tf.while_loop(
            lambda begin, *_: begin < count,
            compare,
            (tf.constant(0), tf.zeros((some, 0), tf.int32), tf.zeros((some, 0))),
            (tf.TensorShape([]), *[tf.TensorShape([None, None])] * 2),
            parallel_iterations=1,  # else several blocks are in memory at once
        )
        return tf.ensure_shape(indices, [None, k]), tf.ensure_shape(scores, [None, k])
