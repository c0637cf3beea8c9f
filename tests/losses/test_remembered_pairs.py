"""Rows of earlier batches among the references: their pairs count, and from one end."""

import numpy as np
import pytest
import tensorflow as tf
from family import BY_FORMULA, EXACT, however_traced, make, masks, rows_of
from naive import unit_rows

from ms_keras.losses import engine
from ms_keras.losses.pairs import Memory

ANCHORS, PLACES = 11, 9
LABELS = np.random.default_rng(0).integers(0, 4, ANCHORS)
ROWS = unit_rows(np.random.default_rng(1), ANCHORS, 4)
UPSTREAM = np.random.default_rng(2).uniform(size=ANCHORS)
FILLED = np.arange(PLACES) % 3 != 1
MEMORY_LABELS = np.random.default_rng(3).integers(0, 4, PLACES)
MEMORY_ROWS = unit_rows(np.random.default_rng(4), PLACES, 4)


def memory(filled=FILLED, rows=MEMORY_ROWS):
    return Memory(tf.constant(rows), tf.constant(MEMORY_LABELS), tf.constant(filled))


def losses_and_gradient(recipe, remembered, block_size=None, rows=None):
    rows = tf.constant(ROWS) if rows is None else rows
    with tf.GradientTape() as tape:
        tape.watch(rows)
        losses = engine.pair_losses(
            recipe, LABELS, rows, memory=remembered, block_size=block_size
        )
    upstream = tf.constant(UPSTREAM, losses.dtype)
    return losses, tape.gradient(losses, rows, output_gradients=upstream)


def by_formula(name):
    """Returns the same by autodiff of the formula, anchor by anchor."""
    positive, negative = (
        np.concatenate(both, axis=1)
        for both in zip(
            masks(LABELS), masks(LABELS, MEMORY_LABELS[FILLED]), strict=True
        )
    )
    rows = tf.constant(ROWS)
    with tf.GradientTape() as tape:
        tape.watch(rows)
        units = tf.math.l2_normalize(rows, axis=1)
        others = tf.concat([units, tf.constant(MEMORY_ROWS[FILLED])], axis=0)
        similarities = [
            tf.unstack(row) for row in tf.matmul(units, others, transpose_b=True)
        ]
        losses = tf.stack(
            [
                tf.cast(loss, tf.float64)
                for loss in rows_of(name, similarities, positive, negative, tf.math)
            ]
        )
    gradient = tape.gradient(losses, rows, output_gradients=tf.constant(UPSTREAM))
    return losses, gradient


@pytest.mark.parametrize("block_size", [None, 5])
@pytest.mark.parametrize("name", BY_FORMULA)
def test_losses_and_gradients_are_those_of_the_formula(name, block_size):
    found = losses_and_gradient(make(name).recipe, memory(), block_size)
    for value, expected in zip(found, by_formula(name), strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-12)


@pytest.mark.parametrize("name", EXACT)
def test_gradients_are_those_of_finite_differences(name):
    recipe, step = make(name).recipe, 1e-6
    direction = unit_rows(np.random.default_rng(5), ANCHORS, 4)
    _, gradient = losses_and_gradient(recipe, memory())
    ahead, back = (
        engine.pair_losses(recipe, LABELS, ROWS + sign * direction, memory=memory())
        for sign in (step, -step)
    )
    slope = np.sum(UPSTREAM * (ahead - back)) / (2 * step)
    np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-5)


@pytest.mark.parametrize("name", EXACT)
def test_an_empty_memory_changes_nothing(name):
    recipe = make(name).recipe
    empty = memory(np.zeros(PLACES, bool))
    for value, expected in zip(
        losses_and_gradient(recipe, empty),
        losses_and_gradient(recipe, None),
        strict=True,
    ):
        np.testing.assert_allclose(value, expected, atol=1e-12)


@pytest.mark.parametrize("name", EXACT)
def test_what_stands_at_empty_places_does_not_matter(name):
    recipe = make(name).recipe
    zeros = np.where(FILLED[:, None], MEMORY_ROWS, 0.0)
    for value, expected in zip(
        losses_and_gradient(recipe, memory(rows=zeros)),
        losses_and_gradient(recipe, memory()),
        strict=True,
    ):
        np.testing.assert_allclose(value, expected, atol=1e-12)


@however_traced
@pytest.mark.parametrize("name", ["ms", "triplet"])
@pytest.mark.parametrize("block_size", [None, 5])
def test_a_memory_works_wherever_shapes_become_known(name, block_size, options):
    recipe = make(name).recipe
    function = tf.function(
        lambda rows: losses_and_gradient(recipe, memory(), block_size, rows), **options
    )
    for value, expected in zip(
        function(tf.constant(ROWS)), by_formula(name), strict=True
    ):
        np.testing.assert_allclose(value, expected, atol=1e-12)


@pytest.mark.parametrize(
    "name", ["ms", "contrastive", "nca", "triplet", "triplet_hard"]
)
def test_the_batch_itself_in_memory_is_no_self_pair(name):
    # All similarities twice, but for those of the anchors to themselves, which are 1.
    remembered = Memory(
        tf.constant(ROWS), tf.constant(LABELS), tf.fill([ANCHORS], True)
    )
    losses, _ = losses_and_gradient(make(name).recipe, remembered)
    positive, negative = masks(LABELS, LABELS)
    positive, negative = np.tile(positive, 2), np.tile(negative, 2)
    positive[range(ANCHORS), range(ANCHORS)] = False
    expected = rows_of(name, np.tile(ROWS @ ROWS.T, 2), positive, negative)
    np.testing.assert_allclose(losses, expected, atol=1e-9)


def test_blocks_give_the_numbers_of_the_whole_matrix_in_float32():
    rng = np.random.default_rng(6)
    rows = tf.constant(unit_rows(rng, 300, 64), tf.float32)
    labels = rng.integers(0, 60, 300)
    remembered = Memory(
        tf.constant(unit_rows(rng, 1000, 64), tf.float32),
        tf.constant(rng.integers(0, 60, 1000)),
        tf.range(1000) < 900,
    )
    for name in ("ms", "contrastive", "binomial", "nca"):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(rows)
            whole, blocks = (
                engine.pair_losses(
                    make(name).recipe, labels, rows, memory=remembered, block_size=size
                )
                for size in (None, 128)
            )
        np.testing.assert_allclose(blocks, whole, rtol=1e-6, atol=1e-6)
        gradients = [tape.gradient(losses, rows).numpy() for losses in (blocks, whole)]
        largest = np.abs(gradients[1]).max()
        np.testing.assert_allclose(*gradients, rtol=1e-6, atol=1e-6 * largest)


def test_a_broken_row_in_memory_is_not_hidden():
    broken = MEMORY_ROWS.copy()
    broken[0] = np.nan
    assert FILLED[0]
    losses, _ = losses_and_gradient(make("ms").recipe, memory(rows=broken))
    assert np.isnan(losses).all()


def test_references_and_a_memory_at_once_are_refused():
    with pytest.raises(ValueError, match="got references as well"):
        engine.pair_losses(
            make("ms").recipe, LABELS, ROWS, LABELS, ROWS, memory=memory()
        )
