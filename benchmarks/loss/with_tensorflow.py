"""Contenders in TensorFlow: each makes a call that gives a loss and its gradient."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.loss.data import Batch

# From nothing to the loss and its gradient by the rows, complete.
Call = Callable[[], tuple[float, np.ndarray]]
_BLOCK_PAIRS = 1 << 25  # of the floor where the matrix is too large, as in our loss
_DENSE_PAIRS = 1 << 26


def dispatch(batch: Batch, jit: bool) -> Call:
    """The floor of small batches: a function that does next to nothing."""
    function = tf.function(
        lambda rows: (rows[0, 0], rows + 1.0), jit_compile=jit, autograph=False
    )
    return _call(function, tf.constant(batch.rows))


def floor(batch: Batch) -> Call:
    """The products that a loss and its gradient cannot do without.

    Two of them; in blocks, where the matrix of pairs is not kept, three.
    """

    def dense(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pairs = tf.matmul(rows, rows, transpose_b=True)
        return pairs[0, 0], tf.matmul(pairs, rows)

    def of_block(rows: tf.Tensor, block: tf.Tensor) -> tf.Tensor:
        first = tf.matmul(block, rows, transpose_b=True)
        # Not the same product, or one of the two would be optimised away.
        second = tf.matmul(block + first[0, 0], rows, transpose_b=True)
        return tf.matmul(second, rows)

    def blocked(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        count = rows.shape[0]
        blocks = tf.reshape(rows, [-1, max(1, _BLOCK_PAIRS // count), rows.shape[1]])
        done = tf.map_fn(functools.partial(of_block, rows), blocks, 1)
        return done[0, 0, 0], tf.reshape(done, rows.shape)

    small = len(batch.rows) ** 2 <= _DENSE_PAIRS
    function = tf.function(dense if small else blocked, autograph=False)
    return _call(function, tf.constant(batch.rows))


def ours(
    batch: Batch,
    loss: str,
    jit: bool = False,
    xla: bool = True,
    block_size: int | None = None,
) -> Call:
    """This package, as a training step calls it.

    Args:
        batch: Rows and labels.
        loss: A name of `LOSSES`, or one with a selection, `"triplet:hard"`.
        jit: Whether the step around the loss is compiled too. Defaults to `False`.
        xla: Whether the loss compiles its inside. Defaults to `True`, as it does.
        block_size: Anchors at once. Defaults to `None`: by size.
    """
    if not xla:
        row_core: Any = importlib.import_module("ms_keras.losses.row_core")
        row_core.compiled = lambda function: tf.function(
            functools.partial(function), autograph=False
        )
    from ms_keras.losses import LOSSES

    name, _, selection = loss.partition(":")
    options = {"selection": selection} if selection else {}
    chosen = LOSSES[name](**options)
    chosen.block_size = block_size
    return _differentiated(chosen, batch, jit)


def addons(batch: Batch, loss: str) -> Call:
    """TensorFlow Addons, by our wrapper, which brings it pairs and unit rows."""
    from ms_keras.losses.addons import AddonsLoss

    return _differentiated(AddonsLoss(loss), batch, False)


def tensorflow_similarity(batch: Batch, loss: str, jit: bool) -> Call:
    """TensorFlow Similarity, which compiles only with labels `[batch, 1]`."""
    losses = importlib.import_module("tensorflow_similarity.losses")
    if loss == "multi_similarity":
        chosen = losses.MultiSimilarityLoss(
            distance="cosine", alpha=2, beta=40, epsilon=0.1, lmda=0.5
        )
    else:
        _, _, selection = loss.partition(":")
        chosen = losses.TripletLoss(
            distance="cosine",
            positive_mining_strategy="hard",
            negative_mining_strategy=selection,
            margin=0.1,
        )
    columns = batch._replace(labels=batch.labels[:, np.newaxis]) if jit else batch
    return _differentiated(chosen, columns, jit, autograph=True)


def _differentiated(
    loss: Any, batch: Batch, jit: bool, autograph: bool = False
) -> Call:
    def step(labels: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(rows)
            value = loss(labels, rows)
        return value, tape.gradient(value, rows)

    function = tf.function(step, jit_compile=jit, autograph=autograph)
    return _call(function, tf.constant(batch.labels), tf.constant(batch.rows))


def _call(function: Any, *arguments: tf.Tensor) -> Call:
    def call() -> tuple[float, np.ndarray]:
        value, gradient = function(*arguments)
        return float(value), gradient.numpy()  # on CPUs a view: nothing is copied

    return call
