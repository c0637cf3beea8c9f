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


def dispatch(batch: Batch, jit: bool) -> Call:
    """The floor of small batches: a function that does next to nothing."""
    function = tf.function(
        lambda rows: (rows[0, 0], rows + 1.0), jit_compile=jit, autograph=False
    )
    return _call(function, tf.constant(batch.rows))


def floor(batch: Batch) -> Call:
    """The products that a loss and its gradient cannot do without.

    Two of them; in blocks, where the matrix of pairs is not kept, three. What is kept,
    and how large a block is, is as in our loss.
    """
    # Not above: peers' environments have none of ours.
    blocks = importlib.import_module("ms_keras.losses.blocks")
    count, dim = batch.rows.shape
    in_block = min(count, max(1, blocks._PAIRS_PER_BLOCK // count))
    whole = count // in_block * in_block  # rows; the others are one smaller block

    def dense(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pairs = tf.matmul(rows, rows, transpose_b=True)
        return pairs[0, 0], tf.matmul(pairs, rows)

    def of_block(rows: tf.Tensor, block: tf.Tensor) -> tf.Tensor:
        first = tf.matmul(block, rows, transpose_b=True)
        # Not the same product, or one of the two would be optimised away.
        second = tf.matmul(block + first[0, 0], rows, transpose_b=True)
        return tf.matmul(second, rows)

    def blocked(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        done = tf.map_fn(
            functools.partial(of_block, rows),
            tf.reshape(rows[:whole], [-1, in_block, dim]),
            fn_output_signature=tf.float32,
            parallel_iterations=1,  # else several blocks are in memory at once
        )
        done = tf.reshape(done, [whole, dim])
        if whole < count:
            done = tf.concat([done, of_block(rows, rows[whole:])], axis=0)
        return done[0, 0], done

    small = count**2 <= blocks.DENSE_PAIRS
    function = tf.function(dense if small else blocked, autograph=False)
    return _call(function, tf.constant(batch.rows))


def ours(
    batch: Batch,
    loss: str,
    jit: bool = False,
    xla: bool | None = None,
    block_size: int | None = None,
) -> Call:
    """This package, as a training step calls it.

    Args:
        batch: Rows and labels.
        loss: A name of `LOSSES`, or one with a selection, `"triplet:hard"`.
        jit: Whether the step around the loss is compiled too. Defaults to `False`.
        xla: Whether the loss compiles its inside, for the whole process. Defaults to
            `None`: by size.
        block_size: Anchors at once. Defaults to `None`: by size.
    """
    if xla is False:
        tf.function = functools.partial(_never_compiled, tf.function)
    if xla is True:
        compiling: Any = importlib.import_module("ms_keras.losses.compiling")
        compiling._FEW_ROWS = -1
    from ms_keras.losses import LOSSES

    name, _, selection = loss.partition(":")
    options = {"selection": selection} if selection else {}
    chosen = LOSSES[name](**options)
    chosen.block_size = block_size
    return differentiated(chosen, batch, jit)


def tensorflow_similarity(
    batch: Batch, loss: str, jit: bool, normalise: bool = False
) -> Call:
    """TensorFlow Similarity, which compiles only with labels `[batch, 1]`.

    Args:
        batch: Rows and labels.
        loss: `"multi_similarity"`, or a selection, `"triplet:hard"`.
        jit: Whether the step is compiled.
        normalise: Whether the step divides rows by their norms: the losses ask for unit
            rows and do not make them. Defaults to `False`.
    """
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
    return differentiated(chosen, columns, jit, normalise, autograph=True)


def differentiated(
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    batch: Batch,
    jit: bool,
    normalise: bool = False,
    autograph: bool = False,
) -> Call:
    """Returns a call of a loss and of its gradient by the rows as they are given.

    Args:
        loss: From labels and rows to a scalar.
        batch: What it is given.
        jit: Whether XLA compiles both.
        normalise: Whether the loss gets unit rows made within. Defaults to `False`.
        autograph: Whether TensorFlow rewrites the loss's Python. Defaults to `False`.
    """

    def step(labels: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(rows)
            given = tf.math.l2_normalize(rows, axis=1) if normalise else rows
            value = loss(labels, given)
        return value, tape.gradient(value, rows)

    function = tf.function(step, jit_compile=jit, autograph=autograph)
    return _call(function, tf.constant(batch.labels), tf.constant(batch.rows))


def _never_compiled(
    function: Any, *arguments: Any, jit_compile: bool | None = None, **options: Any
) -> Any:
    """Is `tf.function` but for XLA."""
    return function(*arguments, **options)


def _call(function: Any, *arguments: tf.Tensor) -> Call:
    def call() -> tuple[float, np.ndarray]:
        value, gradient = function(*arguments)
        return float(value), gradient.numpy()  # on CPUs a view: nothing is copied

    return call
