"""Anchors in blocks, so that the matrix of all pairs is never in memory as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from ms_keras.losses.pairs import PairBatch

# Up to here the matrix is kept between forward and backward pass, which spares one of
# three matmuls: 8,192 anchors among themselves, 256 MB in float32.
DENSE_PAIRS = 1 << 26
_PAIRS_PER_BLOCK = 1 << 25  # 128 MB in float32
_LEAST_ROWS = 256  # below, matmuls lose their speed


class Blocks(NamedTuple):
    """How the anchors are cut: all blocks have the same rows, the last may overlap.

    Shapes must not change from block to block, or XLA would compile twice.

    Attributes:
        anchors: Number of anchors, scalar int32 like the others.
        rows: Anchors in a block.
        count: Number of blocks.
    """

    anchors: tf.Tensor
    rows: tf.Tensor
    count: tf.Tensor

    def map(self, function: Callable[[tf.Tensor], Any], result: Any) -> Any:
        """Applies a function to blocks in turn and joins what it returns by rows.

        Args:
            function: From the indices of a block's anchors, `[rows]` int32, to a nest
                of tensors `[rows, ...]`.
            result: The same nest of `tf.TensorSpec`s.
        """
        stacked = tf.map_fn(
            lambda block: function(self._indices(block)),
            tf.range(self.count),
            fn_output_signature=result,
            parallel_iterations=1,  # else several blocks are in memory at once
        )
        return tf.nest.map_structure(self._join, stacked)

    def map_and_add(
        self,
        function: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
        result: tf.TensorSpec,
        zeros: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Joins by rows the first of what a function returns, and adds up the second.

        Args:
            function: From the indices of a block's anchors, `[rows]` int32, and a mask
                of those that no earlier block had, `[rows]` bool, to two tensors.
            result: What the first of them is, `[rows, ...]`.
            zeros: What the sum starts with, shaped like the second.
        """

        def step(block: tf.Tensor, joined: tf.TensorArray, total: tf.Tensor) -> tuple:
            indices = self._indices(block)
            rows, summand = function(indices, indices >= block * self.rows)
            return block + 1, joined.write(block, rows), total + summand

        array = tf.TensorArray(result.dtype, self.count, element_shape=result.shape)
        _, joined, total = tf.while_loop(
            lambda block, *_: block < self.count,
            step,
            (tf.constant(0), array, zeros),
            parallel_iterations=1,
        )
        return self._join(joined.stack()), total

    def _indices(self, block: tf.Tensor) -> tf.Tensor:
        begin = tf.minimum(block * self.rows, self.anchors - self.rows)
        return begin + tf.range(self.rows)

    def _join(self, stacked: tf.Tensor) -> tf.Tensor:
        """Returns `[anchors, ...]` from `[count, rows, ...]`."""
        before_last = (self.count - 1) * self.rows
        new = self.anchors - before_last  # of the last block
        shape = tf.concat([[before_last], tf.shape(stacked)[2:]], axis=0)
        first = tf.reshape(stacked[:-1], shape)
        return tf.concat([first, stacked[-1, self.rows - new :]], axis=0)


def blocks_of(pairs: PairBatch, block_size: int | None) -> Blocks:
    """Returns how to cut the anchors of a batch.

    Args:
        pairs: The batch.
        block_size: Anchors in a block, or `None`: as many as make 128 MB of
            similarities, 256 at least.
    """
    anchors, references = _count(pairs.anchors), _count(pairs.references)
    rows = block_size
    if rows is None:
        fitting = _PAIRS_PER_BLOCK // tf.maximum(references, 1)
        rows = tf.maximum(fitting, _LEAST_ROWS)
    rows = tf.minimum(rows, anchors)
    return Blocks(
        tf.convert_to_tensor(anchors), rows, -(-anchors // tf.maximum(rows, 1))
    )


def dense_or_blocks(
    pairs: PairBatch,
    block_size: int | None,
    dense: Callable[[], Any],
    blocked: Callable[[], Any],
) -> Any:
    """Computes with the whole matrix of pairs where it fits, else in blocks.

    Args:
        pairs: The batch.
        block_size: Anchors in a block: a batch of no more is one matrix. `None` takes
            the whole matrix up to `DENSE_PAIRS` pairs.
        dense: Computes with the whole matrix.
        blocked: Computes the same in blocks.
    """
    anchors, references = _count(pairs.anchors), _count(pairs.references)
    if block_size is not None:
        fits = anchors <= block_size
    elif isinstance(anchors, int) and isinstance(references, int):
        fits = anchors * references <= DENSE_PAIRS
    else:
        count = tf.cast(anchors, tf.int64) * tf.cast(references, tf.int64)
        fits = count <= DENSE_PAIRS
    if isinstance(fits, bool):
        return dense() if fits else blocked()
    return tf.cond(fits, dense, blocked)


def _count(rows: tf.Tensor) -> Any:
    known = rows.shape[0]
    return tf.shape(rows)[0] if known is None else int(known)
