"""Batches and comparisons for tests of our losses against those of a peer."""

import numpy as np
import pytest
import tensorflow as tf
from naive import unit_rows


def even(rng):
    return np.repeat(range(4), 4), unit_rows(rng, 16, 5)


def two_or_more(rng):
    """Classes of random sizes, each of two rows at least, in random order."""
    labels = np.repeat(range(5), rng.integers(2, 6, 5))
    return rng.permutation(labels), unit_rows(rng, len(labels), 4)


def random_sizes(rng):
    """Classes of random sizes, singletons among them."""
    labels = rng.integers(0, 6, 17)
    labels[0] = 9
    return labels, unit_rows(rng, 17, 4)


def duplicates(rng):
    """Random sizes, singletons, and rows that coincide within a class."""
    labels, rows = random_sizes(rng)
    twice = rng.permutation(17)[:6]
    return np.append(labels, labels[twice]), np.append(rows, rows[twice], axis=0)


def clashes(rng):
    """Duplicates, of which some have another class."""
    labels, rows = duplicates(rng)
    labels[-3:] = (labels[-3:] + 1) % 6
    return labels, rows


def on_batches(*kinds):
    """Parametrizes a test by `labels, rows` of each kind, three of each."""
    cases = [
        pytest.param(*kind(np.random.default_rng(seed)), id=f"{kind.__name__}-{seed}")
        for kind in kinds
        for seed in range(3)
    ]
    return pytest.mark.parametrize(("labels", "rows"), cases)


every_batch = on_batches(even, random_sizes, duplicates, clashes)


def ours(function, labels, rows, *references, **parameters):
    """Returns per-anchor losses and the gradients of their sum, by every row."""
    inputs = [tf.constant(rows), *map(tf.constant, references[1:])]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        values = function(labels, inputs[0], *references[:1], *inputs[1:], **parameters)
        total = tf.reduce_sum(values)
    gradients = [gradient.numpy() for gradient in tape.gradient(total, inputs)]
    return values.numpy(), *gradients


def assert_same(our, their, **tolerance):
    """Compares the sum of our losses with their value, and all gradients."""
    tolerance = {"rtol": 1e-9, "atol": 1e-9, **tolerance}
    np.testing.assert_allclose(np.sum(our[0]), their[0], **tolerance)
    for our_gradient, their_gradient in zip(our[1:], their[1:], strict=True):
        np.testing.assert_allclose(our_gradient, their_gradient, **tolerance)
