"""A memory of earlier batches: a queue, what a model does with it, and its saving."""

import collections

import numpy as np
import pytest
import tensorflow as tf

import ms_keras
from ms_keras.training.memory import CrossBatchMemory

X = np.random.default_rng(0).normal(size=(48, 6)).astype("f4")
LABELS = np.random.default_rng(1).integers(0, 4, 48)


def learner(size=20, warmup_steps=0, rate=0.1, loss=None, **arguments):
    initial = tf.keras.initializers.GlorotUniform(seed=1)
    tower = tf.keras.Sequential(
        [tf.keras.Input([6]), tf.keras.layers.Dense(5, kernel_initializer=initial)]
    )
    model = ms_keras.MemoryModel(tower, size, warmup_steps)
    model.compile(
        tf.keras.optimizers.SGD(rate),
        loss=ms_keras.MultiSimilarityLoss() if loss is None else loss,
        **arguments,
    )
    return model


def fit(model, batch_size=12, epochs=1):
    batches = tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(batch_size)
    history = model.fit(batches, epochs=epochs, shuffle=False, verbose=0)
    return history.history["loss"]


def remembered(memory):
    """Returns pairs of the remembered labels and rows, sorted."""
    rows, labels, filled = (np.asarray(part) for part in memory.contents())
    pairs = zip(labels[filled].tolist(), rows[filled].tolist(), strict=True)
    return sorted((label, tuple(row)) for label, row in pairs)


@pytest.mark.parametrize("batches", [[3, 4, 2, 9, 12, 5], [7, 7, 7], [1] * 10, [20]])
def test_it_holds_the_last_rows_as_a_queue_does(batches):
    memory, queue = CrossBatchMemory(7, 2), collections.deque(maxlen=7)
    rng = np.random.default_rng(2)
    for number, batch in enumerate(batches):
        labels = rng.integers(0, 2**40, batch)
        rows = rng.normal(size=(batch, 2)).astype("f4")
        memory.remember(labels[:, None] if number % 2 else labels, 3 * rows)
        units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        queue.extend(zip(labels.tolist(), units, strict=True))
        found = remembered(memory)
        expected = sorted((label, tuple(row)) for label, row in queue)
        assert [label for label, _ in found] == [label for label, _ in expected]
        np.testing.assert_allclose(
            [row for _, row in found], [row for _, row in expected], atol=1e-6
        )


def test_rows_take_part_after_the_warm_up_and_are_remembered_before():
    memory = CrossBatchMemory(10, 2, warmup_steps=3)
    for step in range(5):
        assert len(remembered(memory)) == (0 if step < 3 else min(10, 4 * step))
        memory.remember(np.full(4, step), np.ones((4, 2), "f4"))


@pytest.mark.parametrize("arguments", [(0, 2), (2.5, 2), (4, 0), (4, 2, -1)], ids=str)
def test_sizes_that_make_no_sense_are_refused(arguments):
    with pytest.raises(ValueError, match="must be a whole number"):
        CrossBatchMemory(*arguments)


def test_labels_and_rows_that_do_not_fit_are_refused_and_not_remembered():
    memory = CrossBatchMemory(4, 2)
    with pytest.raises(ValueError, match="same batch"):
        memory.remember([1, 2, 3], np.ones((2, 2), "f4"))
    assert remembered(memory) == []


@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}, {"jit_compile": True}])
def test_each_step_sees_the_batches_before(options):
    # Nothing is learnt: the rows of earlier batches are those of the present weights.
    model = learner(size=20, rate=0.0, **options)
    rows = model.predict(X, verbose=0)
    losses = []
    for begin in range(0, 48, 12):
        now, before = slice(begin, begin + 12), slice(max(0, begin - 20), begin)
        references = np.concatenate([rows[now], rows[before]])
        of_references = np.concatenate([LABELS[now], LABELS[before]])
        of_anchors = [  # one by one, each without itself
            ms_keras.multi_similarity_loss(
                LABELS[now][i : i + 1],
                rows[now][i : i + 1],
                np.delete(of_references, i),
                np.delete(references, i, axis=0),
            )
            for i in range(12)
        ]
        losses.append(np.mean(of_anchors))
    np.testing.assert_allclose(fit(model), [np.mean(losses)], rtol=1e-5)


def test_it_learns_other_weights_than_without():
    alone, together = learner(warmup_steps=1000), learner()
    for model in (alone, together):
        fit(model, epochs=3)
    tower = tf.keras.models.clone_model(alone.tower)
    tower.set_weights(learner().tower.get_weights())
    tower.compile(tf.keras.optimizers.SGD(0.1), loss=ms_keras.MultiSimilarityLoss())
    fit(tower, epochs=3)
    of_alone, of_together, plain = (
        m.get_weights()[0] for m in (alone.tower, together.tower, tower)
    )
    np.testing.assert_allclose(of_alone, plain, atol=1e-6)
    assert np.abs(of_together - plain).max() > 1e-3


def test_scoring_leaves_the_memory_alone():
    model = learner()
    fit(model)
    before = remembered(model.memory)
    model.evaluate(X, LABELS, batch_size=12, verbose=0)
    model.predict(X, verbose=0)
    assert remembered(model.memory) == before
    plain = ms_keras.MultiSimilarityLoss()(LABELS[:12], model.tower(X[:12]))
    value = model.evaluate(X[:12], LABELS[:12], batch_size=12, verbose=0)
    np.testing.assert_allclose(value, plain, rtol=1e-5)


def test_two_replicas_train_and_remember_as_one_device_does(two_replicas):
    models = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            model = learner(size=30, jit_compile=False)
        fit(model, epochs=2)
        models.append(model)
    one, two = models
    for expected, value in zip(
        one.tower.get_weights(), two.tower.get_weights(), strict=True
    ):
        np.testing.assert_allclose(value, expected, atol=2e-6)
    found, expected = two.memory.contents(), one.memory.contents()
    assert np.all(expected.filled)
    assert np.all(found.filled)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.rows, expected.rows, atol=2e-6)


def test_a_saved_model_goes_on_with_what_it_remembered(tmp_path):
    loss = ms_keras.ContrastiveLoss(lambda_=0.3)
    model = learner(loss=loss, metrics=[ms_keras.PairStatistics(loss)])
    fit(model)
    model.save(tmp_path / "model.keras")
    again = tf.keras.models.load_model(tmp_path / "model.keras")
    assert remembered(again.memory) == remembered(model.memory)
    np.testing.assert_allclose(fit(again), fit(model), rtol=1e-6)
    for expected, value in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-6)


@pytest.mark.parametrize("loss", [None, "mse", tf.keras.losses.MeanSquaredError()])
def test_other_losses_are_refused(loss):
    tower = tf.keras.Sequential([tf.keras.Input([6]), tf.keras.layers.Dense(5)])
    with pytest.raises(ValueError, match="A memory is for the losses of ms_keras"):
        ms_keras.MemoryModel(tower).compile("sgd", loss=loss)
