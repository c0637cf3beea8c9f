"""Values, weights and gradients of the Multi-Similarity loss against other sources."""

import json

import numpy as np
import pytest
import tensorflow as tf
from family import tangent
from naive import multi_similarity, unit_rows

import ms_keras

pytestmark = pytest.mark.usefixtures("either_way")


def value_and_gradient(labels, embeddings, **arguments):
    embeddings = tf.constant(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        losses = ms_keras.multi_similarity_loss(labels, embeddings, **arguments)
        loss = tf.reduce_mean(losses)
    return losses.numpy(), tape.gradient(loss, embeddings).numpy()


@pytest.fixture(scope="session")
def golden_cases(golden):
    return json.loads((golden / "ms_loss.json").read_text())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_golden_losses_weights_and_gradients(golden_cases, dtype):
    assert len(golden_cases) >= 13
    for case in golden_cases:
        rows = np.array(case["embeddings"], dtype)
        references = {}
        if "references" in case:
            references = {
                "references": np.array(case["references"], dtype),
                "reference_labels": np.array(case["reference_labels"]),
            }
        labels = np.array(case["labels"])
        loss = ms_keras.MultiSimilarityLoss(**case["params"])
        losses, gradient = value_and_gradient(
            labels, rows, **references, **case["params"]
        )
        weights = loss.pair_weights(labels, rows, **references)
        close = {"atol": 1e-5, "rtol": 0, "err_msg": case["name"]}
        np.testing.assert_allclose(losses, case["per_anchor"], **close)
        np.testing.assert_allclose(losses.mean(), case["loss"], **close)
        np.testing.assert_allclose(weights, case["pair_weights"], **close)
        expected = tangent(np.array(case["grad_embeddings"]), rows)
        np.testing.assert_allclose(gradient, expected, **close)


@pytest.mark.parametrize("mining", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_random_batches_agree_with_naive_loops(seed, mining):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 30))
    rows = unit_rows(rng, count, int(rng.integers(2, 12)))
    labels = rng.integers(0, rng.integers(1, 8), count)  # one class, singletons too
    rows[rng.integers(0, count)] = rows[0]  # a duplicate
    expected, weights = multi_similarity(labels, rows, mining=mining)
    losses, gradient = value_and_gradient(labels, rows, mining=mining)
    loss = ms_keras.MultiSimilarityLoss(mining=mining)
    np.testing.assert_allclose(losses, expected, atol=1e-9)
    np.testing.assert_allclose(loss.pair_weights(labels, rows), weights, atol=1e-9)
    # Chain rule of GPW: both roles of a row, as anchor and as reference.
    expected = tangent((weights + weights.T) @ rows / count, rows)
    np.testing.assert_allclose(gradient, expected, atol=1e-9)


def test_gradient_agrees_with_finite_differences():
    rng = np.random.default_rng(3)
    rows, labels = rng.normal(size=(9, 4)), rng.integers(0, 3, 9)

    def mean_loss(flat):
        unit = flat.reshape(rows.shape)
        unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
        return multi_similarity(labels, unit)[0].mean()

    step = 1e-6
    numeric = [
        (mean_loss(rows.ravel() + step * e) - mean_loss(rows.ravel() - step * e))
        / (2 * step)
        for e in np.eye(rows.size)
    ]
    _, gradient = value_and_gradient(labels, rows)
    np.testing.assert_allclose(gradient.ravel(), numeric, atol=1e-7)


def test_gradient_agrees_with_autodiff_of_the_formula():
    rng = np.random.default_rng(4)
    rows, labels = tf.constant(rng.normal(size=(20, 6))), np.repeat(range(4), 5)
    positive = (labels[:, None] == labels) & ~np.eye(20, dtype=bool)
    negative = labels[:, None] != labels

    with tf.GradientTape() as tape:
        tape.watch(rows)
        unit = tf.math.l2_normalize(rows, axis=1)
        s = unit @ tf.transpose(unit)
        pulls = tf.where(positive, tf.exp(-2.0 * (s - 0.5)), 0)
        pushes = tf.where(negative, tf.exp(40.0 * (s - 0.5)), 0)
        per_anchor = (
            tf.math.log1p(tf.reduce_sum(pulls, 1)) / 2
            + tf.math.log1p(tf.reduce_sum(pushes, 1)) / 40
        )
        loss = tf.reduce_mean(per_anchor)
    expected = tape.gradient(loss, rows)
    _, gradient = value_and_gradient(labels, rows, mining=False)
    np.testing.assert_allclose(gradient, expected, atol=1e-12)


def test_references_get_gradients_too():
    rng = np.random.default_rng(5)
    queries, gallery = unit_rows(rng, 6, 5), unit_rows(rng, 9, 5)
    labels, gallery_labels = rng.integers(0, 3, 6), rng.integers(0, 3, 9)
    expected, weights = multi_similarity(labels, queries, gallery_labels, gallery)
    queries_, gallery_ = tf.constant(queries), tf.constant(gallery)
    with tf.GradientTape() as tape:
        tape.watch([queries_, gallery_])
        losses = ms_keras.multi_similarity_loss(
            labels, queries_, gallery_labels, gallery_
        )
        total = tf.reduce_sum(losses)
    by_query, by_reference = tape.gradient(total, [queries_, gallery_])
    np.testing.assert_allclose(losses, expected, atol=1e-9)
    np.testing.assert_allclose(by_query, tangent(weights @ gallery, queries), atol=1e-9)
    np.testing.assert_allclose(
        by_reference, tangent(weights.T @ queries, gallery), atol=1e-9
    )


def test_embeddings_are_normalised_inside():
    rng = np.random.default_rng(6)
    rows, labels = unit_rows(rng, 12, 4), np.repeat(range(4), 3)
    scales = 10.0 ** rng.integers(-12, 12, (12, 1))
    expected = ms_keras.multi_similarity_loss(labels, rows)
    scaled = ms_keras.multi_similarity_loss(labels, rows * scales)
    np.testing.assert_allclose(scaled, expected, atol=1e-9)


def test_huge_float32_values_neither_overflow_nor_lose_direction():
    rng = np.random.default_rng(7)
    rows, labels = unit_rows(rng, 12, 4).astype("f4"), np.repeat(range(4), 3)
    expected, _ = value_and_gradient(labels, rows)
    losses, gradient = value_and_gradient(labels, rows * np.float32(1e30))
    np.testing.assert_allclose(losses, expected, atol=1e-5)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_agrees_with_naive_loops_on_the_same_rounded_rows(dtype):
    rng = np.random.default_rng(8)
    rows, labels = tf.cast(unit_rows(rng, 20, 8), dtype), np.repeat(range(4), 5)
    exact = tf.cast(rows, tf.float64).numpy()
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    losses, gradient = value_and_gradient(labels, rows)
    np.testing.assert_allclose(losses, multi_similarity(labels, exact)[0], atol=1e-5)
    assert losses.dtype == np.float32
    assert gradient.dtype == rows.dtype.as_numpy_dtype


@pytest.mark.parametrize(
    "labels", [[1, 1, 1, 1], [1, 2, 3, 4]], ids=["one class", "all distinct"]
)
def test_a_batch_with_nothing_to_learn_gives_zero_attached_to_the_graph(labels):
    rows = unit_rows(np.random.default_rng(9), 4, 3)
    losses, gradient = value_and_gradient(np.array(labels), rows)
    np.testing.assert_array_equal(losses, np.zeros(4))
    np.testing.assert_array_equal(gradient, np.zeros((4, 3)))


def test_one_row_and_no_row():
    losses, gradient = value_and_gradient(np.array([1]), np.ones((1, 3), "f4"))
    assert losses.tolist() == [0.0]
    assert not gradient.any()
    none = ms_keras.multi_similarity_loss(np.zeros(0, int), np.zeros((0, 3), "f4"))
    assert none.shape == (0,)


def test_zero_rows_have_finite_losses_and_gradients():
    rows = np.zeros((6, 3), "f4")
    rows[:2] = [[1, 0, 0], [0, 1, 0]]
    losses, gradient = value_and_gradient(np.array([0, 0, 1, 1, 2, 2]), rows)
    assert np.isfinite(losses).all()
    assert np.abs(gradient).max() < 10


def test_duplicates_are_pairs_and_only_the_row_itself_is_left_out():
    rows = np.array([[1, 0], [1, 0], [0, 1]], "f4")
    weights = ms_keras.MultiSimilarityLoss(mining=False).pair_weights([0, 0, 1], rows)
    assert (np.diag(weights) == 0).all()
    assert weights[0, 1] < 0
    assert weights[1, 0] < 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_embeddings_show_in_the_loss(bad):
    rows = unit_rows(np.random.default_rng(10), 6, 3)
    rows[2, 1] = bad
    losses = ms_keras.multi_similarity_loss([0, 0, 1, 1, 2, 2], rows)
    assert np.isnan(losses).all()


def test_the_worked_example_of_the_paper_note():
    # Similarities to the first row: positives 0.82 and 0.65, negatives 0.62 and 0.30.
    similarity = np.array([1, 0.82, 0.65, 0.62, 0.30])
    rows = np.eye(5)
    rows[0] = 0
    rows = (
        np.sqrt(1 - similarity**2)[:, None] * rows + similarity[:, None] * np.eye(5)[0]
    )
    weights = ms_keras.MultiSimilarityLoss().pair_weights([0, 0, 0, 1, 1], rows)
    np.testing.assert_allclose(weights[0], [0, 0, -0.4256, 0.9918, 0], atol=5e-5)
