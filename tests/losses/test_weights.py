"""Values, pair weights and gradients of every loss against other ways to get them."""

import formulas
import numpy as np
import pytest
import tensorflow as tf
from family import ALL, BY_FORMULA, make, masks, rows_of, tangent
from naive import unit_rows

from ms_keras.losses import engine

pytestmark = pytest.mark.usefixtures("either_way")

CLASSES = {
    "even": [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3],
    "uneven, with singletons": [0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4],
    "one class": [5] * 12,
    "all distinct": range(12),
}


def losses_of(name, labels, rows):
    """Returns float64 losses: Keras 3 would cast to float32."""
    return engine.pair_losses(make(name).recipe, labels, rows)


def batch(classes, seed=0):
    labels = np.array(CLASSES[classes])
    return labels, unit_rows(np.random.default_rng(seed), len(labels), 4)


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("name", BY_FORMULA)
def test_losses_are_those_of_naive_loops(name, classes):
    for seed in range(3):
        labels, rows = batch(classes, seed)
        expected = rows_of(name, rows @ rows.T, *masks(labels))
        losses = losses_of(name, labels, rows)
        np.testing.assert_allclose(losses, expected, atol=1e-9)


@pytest.mark.parametrize("name", BY_FORMULA)
def test_losses_of_duplicates_are_those_of_naive_loops(name):
    labels, rows = batch("even")
    rows[1], rows[4], rows[8] = rows[0], rows[0], rows[7]
    S = np.round(rows @ rows.T, 12)  # equal pairs are exactly equal in the loops
    losses = losses_of(name, labels, rows)
    # A duplicate at distance 0 has a root of rounding errors: 1e-8 becomes 1e-4.
    np.testing.assert_allclose(
        losses, rows_of(name, S, *masks(labels)), atol=2e-5, rtol=2e-5
    )


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("name", BY_FORMULA)
def test_weights_are_the_finite_differences_of_naive_loops(name, classes):
    labels, rows = batch(classes, 1)
    S, kinds = rows @ rows.T, masks(labels)
    expected, step = np.zeros_like(S), 1e-6
    for j in range(len(S)):  # rows do not mix: one column of all of them at a time
        up, down = S.copy(), S.copy()
        up[:, j] += step
        down[:, j] -= step
        expected[:, j] = np.subtract(
            rows_of(name, up, *kinds), rows_of(name, down, *kinds)
        ) / (2 * step)
    weights = make(name).pair_weights(labels, rows)
    np.testing.assert_allclose(weights, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("classes", ["uneven, with singletons", "one class"])
@pytest.mark.parametrize("name", BY_FORMULA)
def test_weights_are_the_derivative_of_the_formula_by_autodiff(name, classes):
    labels, rows = batch(classes, 2)
    S = tf.constant(rows @ rows.T)
    with tf.GradientTape() as tape:
        tape.watch(S)
        entries = [tf.unstack(row) for row in tf.unstack(S)]
        losses = rows_of(name, entries, *masks(labels), m=tf.math)
        total = tf.add_n([tf.cast(loss, tf.float64) for loss in losses])
    expected = tape.gradient(total, S, unconnected_gradients="zero")
    weights = make(name).pair_weights(labels, rows)
    np.testing.assert_allclose(weights, expected, atol=1e-10)


def test_histogram_weights_are_the_derivative_of_the_formula_by_autodiff():
    labels, rows = batch("uneven, with singletons", 2)
    S, nodes = tf.constant(rows @ rows.T), np.linspace(-1, 1, 151)

    def density(values):
        near = tf.nn.relu(1 - tf.abs(values[:, None] - nodes) * 75)
        return tf.reduce_mean(near, axis=0)

    with tf.GradientTape() as tape:
        tape.watch(S)
        below, above = (density(tf.boolean_mask(S, mask)) for mask in masks(labels))
        loss = tf.reduce_sum(above * tf.cumsum(below))
    expected = 12 * tape.gradient(loss, S)  # every anchor carries the loss
    weights = make("histogram").pair_weights(labels, rows)
    np.testing.assert_allclose(weights, expected, atol=1e-10)


@pytest.mark.parametrize("classes", CLASSES)
def test_histogram_loss_and_weights_are_those_of_naive_loops(classes):
    labels, rows = batch(classes, 3)
    S, kinds = rows @ rows.T, masks(labels)
    losses = losses_of("histogram", labels, rows)
    expected = formulas.histogram(S, *kinds)
    np.testing.assert_allclose(losses, np.full(12, expected), atol=1e-9)
    weights = make("histogram").pair_weights(labels, rows).numpy()
    for i, j in [(0, 1), (0, 5), (3, 4), (7, 2), (11, 10), (6, 6)]:
        up, down = S.copy(), S.copy()
        up[i, j] += 1e-7
        down[i, j] -= 1e-7
        slope = formulas.histogram(up, *kinds) - formulas.histogram(down, *kinds)
        # Every one of the 12 anchors carries the loss.
        np.testing.assert_allclose(weights[i, j], 12 * slope / 2e-7, atol=1e-5)


def test_histogram_weights_add_up_over_upstream_factors():
    labels, rows = batch("even")
    embeddings, factors = tf.constant(rows), np.arange(12.0)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        losses = losses_of("histogram", labels, embeddings)
        loss = tf.reduce_sum(losses * factors)
    weights = make("histogram").pair_weights(labels, rows).numpy() * factors.mean()
    expected = tangent((weights + weights.T) @ rows, rows)
    np.testing.assert_allclose(tape.gradient(loss, embeddings), expected, atol=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_gradient_is_the_chain_rule_of_the_weights(name):
    labels, rows = batch("uneven, with singletons", 4)
    weights = make(name).pair_weights(labels, rows).numpy()
    embeddings = tf.constant(rows)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        loss = tf.reduce_mean(losses_of(name, labels, embeddings))
    expected = tangent((weights + weights.T) @ rows, rows) / 12
    gradient = tape.gradient(loss, embeddings)
    np.testing.assert_allclose(gradient, expected, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_references_get_their_gradient_and_have_no_self_pairs(name):
    labels, rows = batch("even", 5)
    others = unit_rows(np.random.default_rng(15), 7, 4)
    gallery = np.concatenate([rows[:2], others])
    gallery_labels = np.array([0, 0, 1, 1, 1, 2, 2, 0, 9])
    loss = make(name)
    weights = loss.pair_weights(labels, rows, gallery_labels, gallery).numpy()
    positive, negative = masks(labels, gallery_labels)
    if name in BY_FORMULA:
        S = rows @ gallery.T
        up = np.array(rows_of(name, S + 1e-6, positive, negative))
        down = np.array(rows_of(name, S - 1e-6, positive, negative))
        slope = (up - down) / 2e-6  # of all similarities of an anchor together
        np.testing.assert_allclose(weights.sum(axis=1), slope, atol=1e-5, rtol=1e-5)
    queries, references = tf.constant(rows), tf.constant(gallery)
    with tf.GradientTape() as tape:
        tape.watch([queries, references])
        losses = engine.pair_losses(
            loss.recipe, labels, queries, gallery_labels, references
        )
        total = tf.reduce_sum(losses)
    by_query, by_reference = tape.gradient(total, [queries, references])
    expected = tangent(weights @ gallery, rows)
    np.testing.assert_allclose(by_query, expected, atol=1e-9, rtol=1e-6)
    expected = tangent(weights.T @ rows, gallery)
    np.testing.assert_allclose(by_reference, expected, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_positives_pull_and_negatives_push_as_the_framework_assumes(name):
    for classes in CLASSES:
        labels, rows = batch(classes, 6)
        weights = make(name).pair_weights(labels, rows).numpy()
        positive, negative = masks(labels)
        assert (weights[positive] <= 0).all()
        assert (weights[negative] >= 0).all()
        assert (weights[~positive & ~negative] == 0).all()
