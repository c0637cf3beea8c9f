"""The tower of a run comes back from its flags and checkpoint."""

import numpy as np
import pytest
import tensorflow as tf

import ms_keras
from ms_keras.models import build_tower
from ms_keras.models.runs import short_side_of_run, tower_of_run

FLAGS_OF_A_RUN = """# python -m ms_keras.train --flagfile=flags.cfg
--backbone=small_conv
--embedding_dim=8
--image_size=32
--weights=/where/it/was/then.h5
--pooling=avg_max
--freeze_batch_norm=true
--short_side=40
--dataset=glyphs
--nomining
--steps=3
"""
IMAGES = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")


def trained_tower():
    """Returns a tower some steps from its start, with its optimizer's state."""
    tower = build_tower("small_conv", 8, 32, weights=None, pooling="avg_max")
    tower.compile("adam", loss=ms_keras.MultiSimilarityLoss())
    tower.fit(IMAGES, np.array([0, 0, 1, 1]), verbose=0)
    return tower


def save_checkpoint(run_dir, tower, which):
    # Like a training: more in it than the tower's weights.
    checkpoint = tf.train.Checkpoint(
        model=tower, optimizer=tower.optimizer, step=tf.Variable(7)
    )
    folder = str(run_dir / "checkpoints" / which)
    tf.train.CheckpointManager(checkpoint, folder, max_to_keep=1).save()


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "flags.cfg").write_text(FLAGS_OF_A_RUN)
    return tmp_path


@pytest.mark.parametrize("replicas", [False, True])
def test_tower_comes_back_with_its_weights(replicas, run_dir, two_replicas):
    strategy = two_replicas if replicas else tf.distribute.get_strategy()
    with strategy.scope():
        tower = trained_tower()
    weights, rows = {}, {}
    for which in ("best", "last"):
        tower.set_weights([weight + 0.01 for weight in tower.get_weights()])
        weights[which], rows[which] = tower.get_weights(), tower(IMAGES)
        save_checkpoint(run_dir, tower, which)
    for which in ("best", "last"):
        restored = tower_of_run(run_dir, which)
        for expected, got in zip(weights[which], restored.get_weights(), strict=True):
            np.testing.assert_array_equal(got, expected)
        np.testing.assert_allclose(restored(IMAGES), rows[which], atol=1e-6)


def test_short_side_is_the_runs_own(run_dir):
    assert short_side_of_run(run_dir) == 40


def test_reading_a_run_leaves_the_programs_flags_alone(run_dir):
    from absl import flags

    short_side_of_run(run_dir)
    assert flags.FLAGS["image_size"].value == 224
    assert flags.FLAGS["weights"].present == 0


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no flags\.cfg.*--run_dir"):
        short_side_of_run(tmp_path)


def test_a_run_without_checkpoint_is_refused(run_dir):
    with pytest.raises(ValueError, match=r"best holds no checkpoint"):
        tower_of_run(run_dir)


def test_an_unknown_checkpoint_is_refused(run_dir):
    with pytest.raises(ValueError, match=r"'best', 'last'.*got 'first'"):
        tower_of_run(run_dir, "first")


def test_a_checkpoint_of_another_tower_is_refused(run_dir):
    tower = build_tower("small_conv", 4, 32, weights=None)
    tower.compile("adam", loss="mse")
    save_checkpoint(run_dir, tower, "best")
    with pytest.raises(ValueError, match=r"flags\.cfg"):
        tower_of_run(run_dir)


def test_a_checkpoint_that_lacks_weights_is_refused(run_dir):
    tower = build_tower("small_conv", 8, 32, weights=None)
    part = tf.keras.Model(tower.input, tower.get_layer("features").output)
    part.compile("adam", loss="mse")
    save_checkpoint(run_dir, part, "best")
    with pytest.raises(ValueError, match=r"flags\.cfg"):
        tower_of_run(run_dir)
