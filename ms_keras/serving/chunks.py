"""Long batches in parts, so that a server's memory does not grow with a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

_ROWS = 64  # images; more at once are hardly faster, and need their activations


def in_chunks(
    function: Callable[[tf.Tensor], Sequence[tf.Tensor]],
    rows: tf.Tensor,
    results: Sequence[tf.TensorSpec],
) -> list[tf.Tensor]:
    """Applies a function to parts of a batch in turn and joins what it returns.

    Args:
        function: From `[some, ...]` rows to tensors of as many rows.
        rows: `[batch, ...]`. Of an empty batch, the function sees nothing.
        results: What the function returns, with the first dimension `None`.
    """
    count = tf.shape(rows)[0]
    arrays = [
        tf.TensorArray(spec.dtype, 0, True, infer_shape=False, element_shape=spec.shape)
        for spec in results
    ]

    def step(begin: tf.Tensor, *arrays: tf.TensorArray) -> tuple:
        parts = function(rows[begin : begin + _ROWS])
        written = [
            array.write(begin // _ROWS, part)
            for array, part in zip(arrays, parts, strict=True)
        ]
        return begin + _ROWS, *written

    _, *arrays = tf.while_loop(
        lambda begin, *_: begin < count,
        step,
        (tf.constant(0), *arrays),
        parallel_iterations=1,  # else several parts are in memory at once
    )
    return [
        tf.ensure_shape(array.concat(), spec.shape)
        for array, spec in zip(arrays, results, strict=True)
    ]
