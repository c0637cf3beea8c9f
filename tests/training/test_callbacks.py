"""Callbacks: scores in the logs, checkpoints to go on from, the end of a run."""

import numpy as np
import pytest
import tensorflow as tf

import ms_keras
from ms_keras.training.checkpoints import Checkpoints
from ms_keras.training.progress import Progress
from ms_keras.training.recall_callback import RecallCallback
from ms_keras.training.steps import StepCounter

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(24, 4)).astype("f4"), np.repeat(range(6), 4)


def compiled(seed=0):
    tf.keras.utils.set_random_seed(seed)
    model = tf.keras.Sequential([tf.keras.Input([4]), tf.keras.layers.Dense(3)])
    loss = ms_keras.MultiSimilarityLoss()
    model.compile("adam", loss=loss, metrics=[ms_keras.PairStatistics(loss)])
    return model


def endless():
    return tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(12).repeat()


def fit(model, *callbacks, epochs=3):
    return model.fit(
        endless(), epochs=epochs, steps_per_epoch=4, callbacks=callbacks, verbose=0
    )


def test_recall_reaches_callbacks_that_stand_behind_it(tmp_path):
    scores = iter([0.2, 0.9, 0.5])
    best = tf.keras.callbacks.ModelCheckpoint(
        str(tmp_path / "{val_recall_at_1:.1f}.keras"),
        monitor="val_recall_at_1",
        mode="max",
        save_best_only=True,
    )
    history = fit(compiled(), RecallCallback(lambda _: {1: next(scores)}), best)
    assert history.history["val_recall_at_1"] == [0.2, 0.9, 0.5]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.2.keras", "0.9.keras"]


def test_counter_ends_the_run_inside_an_epoch_which_is_scored_all_the_same():
    counter, scored = StepCounter(0, 6), []

    def score(_):
        scored.append(counter.step)
        return {1: 0.5}

    fit(compiled(), counter, RecallCallback(score))
    assert scored == [4, 6]


def test_a_restored_run_has_the_weights_optimizer_step_and_best_score(tmp_path):
    model, counter = compiled(), StepCounter(0, 8)
    checkpoints = Checkpoints(tmp_path, model, counter)
    assert not checkpoints.restore_last()
    scores = iter([0.7, 0.4])
    fit(model, counter, RecallCallback(lambda _: {1: next(scores)}), checkpoints)

    again, counter = compiled(seed=1), StepCounter(0, 16)
    restored = Checkpoints(tmp_path, again, counter)
    again.train_on_batch(X[:12], LABELS[:12])  # its optimizer has state of its own
    assert restored.restore_last()
    assert counter.step == 8
    assert restored.best == (pytest.approx(0.7), 4)
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    for m in (model, again):  # the same next step needs the same optimizer state
        m.train_on_batch(X[:12], LABELS[:12])
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)


def test_restoring_before_the_first_step_restores_the_optimizer_too(tmp_path):
    model, counter = compiled(), StepCounter(0, 4)
    checkpoints = Checkpoints(tmp_path, model, counter)
    fit(model, counter, checkpoints)
    again = compiled(seed=1)
    Checkpoints(tmp_path, again, StepCounter(0, 8)).restore_last()
    for m in (model, again):
        m.train_on_batch(X[:12], LABELS[:12])
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)


def test_a_checkpoint_killed_while_being_written_leaves_the_one_before(tmp_path):
    model, counter = compiled(), StepCounter(0, 4)
    checkpoints = Checkpoints(tmp_path, model, counter)
    fit(model, counter, checkpoints)
    (tmp_path / "last" / "ckpt-5.data-00000-of-00001").write_bytes(b"half")
    again = StepCounter(0, 8)
    assert Checkpoints(tmp_path, compiled(1), again).restore_last()
    assert again.step == 4


def test_progress_tells_loss_pairs_speed_and_recall(capsys):
    counter = StepCounter(0, 8)
    fit(
        compiled(),
        counter,
        RecallCallback(lambda _: {1: 0.25}),
        Progress(counter, batch_size=12),
        epochs=2,
    )
    lines = [
        line for line in capsys.readouterr().err.splitlines() if "step 8/8" in line
    ]
    assert len(lines) == 1
    for name in ("loss", "kept+", "kept-", "images/s", "R@1 0.25"):
        assert name in lines[0]
