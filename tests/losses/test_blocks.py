"""Blocks of anchors: the same losses, gradients and statistics as the whole matrix."""

import numpy as np
import pytest
import tensorflow as tf
from family import BY_FORMULA, EXACT, however_traced, make, masks, rows_of
from naive import unit_rows
from test_replicas import three_batches, trained_weights

import ms_keras
from ms_keras.losses import engine
from ms_keras.losses.blocks import DENSE_PAIRS

ANCHORS = 13
LABELS = np.random.default_rng(0).integers(0, 4, ANCHORS)
ROWS = unit_rows(np.random.default_rng(1), ANCHORS, 4)
REFERENCE_LABELS = np.random.default_rng(2).integers(0, 4, 9)
REFERENCES = unit_rows(np.random.default_rng(3), 9, 4)
UPSTREAM = np.random.default_rng(4).uniform(size=ANCHORS)


def among_themselves(recipe, block_size, rows):
    """Returns losses, and gradients of a weighted sum of them."""
    with tf.GradientTape() as tape:
        tape.watch(rows)
        losses = engine.pair_losses(recipe, LABELS, rows, block_size=block_size)
    return losses, tape.gradient(losses, rows, output_gradients=tf.constant(UPSTREAM))


def against_references(recipe, block_size, rows):
    references = tf.constant(REFERENCES)
    with tf.GradientTape() as tape:
        tape.watch([rows, references])
        losses = engine.pair_losses(
            recipe, LABELS, rows, REFERENCE_LABELS, references, block_size=block_size
        )
    upstream = tf.constant(UPSTREAM)
    gradients = tape.gradient(losses, [rows, references], output_gradients=upstream)
    return losses, *gradients


@pytest.mark.parametrize("block_size", [1, 5, 12, 13, 20])
@pytest.mark.parametrize("name", BY_FORMULA)
def test_losses_are_those_of_naive_loops(name, block_size):
    losses = engine.pair_losses(make(name).recipe, LABELS, ROWS, block_size=block_size)
    expected = rows_of(name, ROWS @ ROWS.T, *masks(LABELS))
    np.testing.assert_allclose(losses, expected, atol=1e-9)


@pytest.mark.parametrize("computed", [among_themselves, against_references])
@pytest.mark.parametrize("block_size", [1, 5])
@pytest.mark.parametrize("name", EXACT)
def test_gradients_are_those_of_the_whole_matrix(name, block_size, computed):
    recipe = make(name).recipe
    found = computed(recipe, block_size, tf.constant(ROWS))
    expected = computed(recipe, None, tf.constant(ROWS))
    for value, whole in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, whole, atol=1e-12)


@pytest.mark.parametrize("computed", [among_themselves, against_references])
@however_traced
def test_blocks_work_wherever_shapes_become_known(computed, options):
    recipe = make("ms").recipe
    function = tf.function(lambda rows: computed(recipe, 5, rows), **options)
    expected = computed(recipe, None, tf.constant(ROWS))
    for value, whole in zip(function(tf.constant(ROWS)), expected, strict=True):
        np.testing.assert_allclose(value, whole, atol=1e-12)


def test_the_summary_is_that_of_the_whole_matrix():
    recipe = make("ms").recipe
    found = engine.pair_summary(recipe, LABELS, ROWS, block_size=5)
    expected = engine.pair_summary(recipe, LABELS, ROWS)
    for name, value in found._asdict().items():
        np.testing.assert_allclose(value, getattr(expected, name), atol=1e-12)


@pytest.mark.parametrize("name", ["ms", "contrastive", "triplet_hard"])
def test_replicas_in_blocks_train_as_one_device_without(
    two_replicas, name, monkeypatch
):
    one, one_history = trained_weights(
        tf.distribute.get_strategy(), three_batches(12), kept=True, name=name
    )
    monkeypatch.setattr(ms_keras.losses.PairLoss, "block_size", 4)
    two, two_history = trained_weights(
        two_replicas, three_batches(12), kept=True, name=name
    )
    for expected, value in zip(one, two, strict=True):
        np.testing.assert_allclose(value, expected, atol=2e-6)
    for key in one_history:
        np.testing.assert_allclose(
            two_history[key], one_history[key], rtol=1e-5, atol=1e-6
        )


def test_a_batch_too_large_for_one_matrix_takes_blocks_by_itself():
    anchors = 8300
    assert anchors**2 > DENSE_PAIRS
    rng = np.random.default_rng(5)
    labels, rows = rng.integers(0, 1000, anchors), unit_rows(rng, anchors, 4)
    rows = tf.constant(rows, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(rows)
        losses = ms_keras.multi_similarity_loss(labels, rows)
    gradient = tape.gradient(losses, rows)
    assert np.isfinite(gradient).all()
    some = [0, 1, 4095, anchors - 2, anchors - 1]
    similarities = rows.numpy()[some] @ rows.numpy().T
    positive, negative = masks(labels[some], labels)
    positive[range(len(some)), some] = False
    expected = rows_of("ms", similarities, positive, negative)
    np.testing.assert_allclose(losses.numpy()[some], expected, rtol=2e-5)


@pytest.mark.parametrize("block_size", [None, 64, 7])
def test_the_hardest_pairs_are_the_same_from_both_their_ends(block_size):
    # Of odd sizes, in float32, where S_ij and S_ji may round differently.
    rng = np.random.default_rng(6)
    labels = np.append(rng.integers(0, 50, 280), np.zeros(21, int))
    rows = np.float32(unit_rows(rng, 301, 37))
    positives, negatives = masks(labels)
    similarities = np.float64(rows) @ np.float64(rows).T
    weights = np.zeros_like(similarities)
    for weight, positive, negative, similar in zip(
        weights, positives, negatives, similarities, strict=True
    ):
        if positive.any() and negative.any():
            weight[np.where(positive, similar, np.inf).argmin()] -= 1
            weight[np.where(negative, similar, -np.inf).argmax()] += 1
    recipe = make("triplet_hard", margin=2.0).recipe  # all violate it
    embeddings = tf.constant(rows)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        loss = tf.reduce_sum(
            engine.pair_losses(recipe, labels, embeddings, block_size=block_size)
        )
    expected = (weights + weights.T) @ rows
    expected -= np.sum(expected * rows, axis=1, keepdims=True) * rows
    np.testing.assert_allclose(tape.gradient(loss, embeddings), expected, atol=2e-5)


def test_the_block_size_is_saved_with_the_loss():
    loss = make("ms")
    assert loss.block_size is None
    loss.block_size = 5
    again = type(loss).from_config(loss.get_config())
    assert again.block_size == 5
    np.testing.assert_allclose(again(LABELS, ROWS), make("ms")(LABELS, ROWS), rtol=1e-6)


@pytest.mark.parametrize("wrong", [0, -1, 2.5, "all"])
def test_a_block_size_that_is_no_number_of_anchors_is_refused(wrong):
    loss = make("ms")
    with pytest.raises(ValueError, match="block_size must be a number of anchors"):
        loss.block_size = wrong
