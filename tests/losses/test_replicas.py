"""Pairs span the global batch: replicas train as one device does."""

import numpy as np
import pytest
import tensorflow as tf
from family import EXACT, make
from naive import multi_similarity, unit_rows

import ms_keras


def trained_weights(strategy, batches, kept=False, name="ms"):
    with strategy.scope():
        initial = tf.keras.initializers.GlorotUniform(seed=1)
        model = tf.keras.Sequential(
            [tf.keras.Input([6]), tf.keras.layers.Dense(5, kernel_initializer=initial)]
        )
        loss = make(name)
        metrics = [ms_keras.PairStatistics(loss)] if kept else None
        optimizer = tf.keras.optimizers.SGD(0.1)
        model.compile(optimizer, loss=loss, metrics=metrics, jit_compile=False)
    history = model.fit(batches, epochs=1, verbose=0)
    return model.get_weights(), history.history


def three_batches(count):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3 * count, 6)).astype("f4")
    labels = rng.integers(0, 4, 3 * count)
    return tf.data.Dataset.from_tensor_slices((x, labels)).batch(count)


@pytest.mark.parametrize("name", EXACT)
def test_two_replicas_give_the_weights_of_one_device_after_three_steps(
    two_replicas, name
):
    (one, one_history), (two, two_history) = (
        trained_weights(strategy, three_batches(12), name=name)
        for strategy in (tf.distribute.get_strategy(), two_replicas)
    )
    for expected, value in zip(one, two, strict=True):
        np.testing.assert_allclose(value, expected, atol=2e-6)
    np.testing.assert_allclose(two_history["loss"], one_history["loss"], rtol=1e-5)


@pytest.mark.parametrize("name", ["ms", "triplet", "triplet_hard"])
def test_statistics_are_of_pairs_across_replicas(two_replicas, name):
    one, two = (
        trained_weights(strategy, three_batches(12), kept=True, name=name)[1]
        for strategy in (tf.distribute.get_strategy(), two_replicas)
    )
    assert one["kept_positives"][0] > 0
    for key in one:
        np.testing.assert_allclose(two[key], one[key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sizes", [(4, 4), (5, 2), (6, 0)])
def test_local_losses_and_gradients_of_uneven_replicas(two_replicas, sizes):
    rng = np.random.default_rng(3)
    rows = unit_rows(rng, sum(sizes), 4)
    labels = rng.integers(0, 3, sum(sizes))
    expected, weights = multi_similarity(labels, rows)
    upstream = rng.uniform(size=sum(sizes))  # each anchor's own
    parts = np.split(np.arange(sum(sizes)), [sizes[0]])

    def local(context):
        return parts[context.replica_id_in_sync_group]

    def distributed(values):
        return two_replicas.experimental_distribute_values_from_function(
            lambda context: tf.constant(values[local(context)])
        )

    @tf.function
    def step(labels, rows, upstream):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            losses = ms_keras.multi_similarity_loss(labels, rows)
        return losses, tape.gradient(losses, rows, output_gradients=upstream)

    losses, gradients = two_replicas.run(
        step, args=(distributed(labels), distributed(rows), distributed(upstream))
    )
    losses, gradients = (
        np.concatenate(
            [np.asarray(v) for v in two_replicas.experimental_local_results(x)]
        )
        for x in (losses, gradients)
    )
    weighted = upstream[:, None] * weights
    raw = (weighted + weighted.T) @ rows
    tangent = raw - np.sum(raw * rows, axis=1, keepdims=True) * rows
    np.testing.assert_allclose(losses, expected, atol=1e-9)
    np.testing.assert_allclose(gradients, tangent, atol=1e-9)
