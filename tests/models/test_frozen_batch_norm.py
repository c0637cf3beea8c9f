"""Batch norm whose statistics are frozen, all of it, or nothing."""

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.models import backbones, build_tower

IMAGES = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3)).astype("float32")


def network_with_batch_norm(image_size):
    """Has its batch norm one level down, and a dropout."""
    images = tf.keras.Input((image_size, image_size, 3))
    block = tf.keras.Sequential(
        [tf.keras.layers.Conv2D(4, 3), tf.keras.layers.BatchNormalization()]
    )
    maps = tf.keras.layers.Dropout(0.5)(block(images))
    return tf.keras.Model(images, maps)


def network_with_dropout(image_size):
    images = tf.keras.Input((image_size, image_size, 3))
    maps = tf.keras.layers.Dropout(0.5)(tf.keras.layers.Conv2D(4, 3)(images))
    return tf.keras.Model(images, maps)


@pytest.fixture(autouse=True)
def own_backbones(monkeypatch):
    monkeypatch.setitem(backbones._OWN, "normed", ("tf", network_with_batch_norm))
    monkeypatch.setitem(backbones._OWN, "dropping", ("tf", network_with_dropout))


def batch_norm_of(model):
    """Returns the model's first batch norm layer, at any depth."""
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            return layer
        layer = getattr(layer, "layer", layer)  # of a wrapper
        inner = batch_norm_of(layer) if hasattr(layer, "layers") else None
        if inner is not None:
            return inner
    return None


def changes_in_a_step(tower):
    """Returns by how much gamma, beta, mean and variance move in a training step."""
    layer = batch_norm_of(tower)
    before = layer.get_weights()
    tower.compile(tf.keras.optimizers.SGD(0.1), loss="mse")
    tower.fit(IMAGES, np.eye(4), verbose=0)
    pairs = zip(before, layer.get_weights(), strict=True)
    return [np.abs(new - old).max() for old, new in pairs]


# Of gamma, beta, mean and variance, which move.
MOVES = {
    "statistics": [True, True, False, False],
    "all": [False, False, False, False],
    "none": [True, True, True, True],
}
SWITCH = {True: "statistics", False: "none"}  # what was to choose from once


@pytest.mark.parametrize("freeze", [*MOVES, True, False])
def test_what_is_frozen_stays_and_all_else_trains(freeze):
    tower = build_tower("normed", 4, 8, None, freeze_batch_norm=freeze)
    layer, kernel = batch_norm_of(tower), tower.get_layer("embedding").kernel
    before = np.array(kernel)
    mode = SWITCH.get(freeze, freeze)
    assert len(layer.trainable_weights) == (0 if mode == "all" else 2)
    # Both convolution's and embedding's kernel and bias.
    others = len(tower.trainable_weights) - len(layer.trainable_weights)
    assert others == 4
    assert [change > 0 for change in changes_in_a_step(tower)] == MOVES[mode]
    assert np.abs(np.array(kernel) - before).max() > 0


def test_statistics_are_frozen_unless_told_otherwise():
    changes = changes_in_a_step(build_tower("normed", 4, 8, None))
    assert [change > 0 for change in changes] == MOVES["statistics"]


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="statistics, all, none; got 'gamma'"):
        build_tower("normed", 4, 8, None, freeze_batch_norm="gamma")


def test_weights_of_one_mode_load_into_another(tmp_path):
    tower = build_tower("normed", 4, 8, None, freeze_batch_norm="all")
    batch_norm_of(tower).set_weights([np.full(4, value) for value in (2, 3, 4, 5)])
    tower.save_weights(tmp_path / "tower.weights.h5")
    other = build_tower("normed", 4, 8, tmp_path / "tower.weights.h5")
    np.testing.assert_allclose(other(IMAGES), tower(IMAGES), atol=1e-6)


@pytest.mark.parametrize("freeze", list(MOVES))
def test_the_choice_survives_a_file(freeze, tmp_path):
    tower = build_tower("normed", 4, 8, None, freeze_batch_norm=freeze)
    tower.save(tmp_path / "tower.keras")
    loaded = tf.keras.models.load_model(tmp_path / "tower.keras")
    np.testing.assert_allclose(loaded(IMAGES), tower(IMAGES), atol=1e-6)
    assert [change > 0 for change in changes_in_a_step(loaded)] == MOVES[freeze]


@pytest.mark.parametrize(
    ("backbone", "freeze", "drops"),
    [
        ("normed", "statistics", False),
        ("normed", "all", False),
        ("normed", "none", True),
        ("dropping", "all", True),
    ],
)
def test_dropout_is_off_only_in_a_backbone_whose_batch_norm_is_frozen(
    backbone, freeze, drops
):
    tower = build_tower(backbone, 4, 8, None, freeze_batch_norm=freeze)
    # Unit-norm rows of one image repeated differ in training only by what is dropped.
    rows = tower(np.repeat(IMAGES[:1], 4, axis=0), training=True)
    assert (np.abs(rows - rows[:1]).max() > 1e-3) == drops
