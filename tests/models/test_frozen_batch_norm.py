"""Batch norm with frozen statistics, whose gamma and beta train."""

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


def test_frozen_statistics_stay_while_gamma_and_beta_train():
    gamma, beta, mean, variance = changes_in_a_step(build_tower("normed", 4, 8, None))
    assert gamma > 0
    assert beta > 0
    assert mean == variance == 0


def test_unfrozen_statistics_move():
    tower = build_tower("normed", 4, 8, None, freeze_batch_norm=False)
    assert min(changes_in_a_step(tower)) > 0


@pytest.mark.parametrize("freeze", [True, False])
def test_the_choice_survives_a_file(freeze, tmp_path):
    tower = build_tower("normed", 4, 8, None, freeze_batch_norm=freeze)
    tower.save(tmp_path / "tower.keras")
    loaded = tf.keras.models.load_model(tmp_path / "tower.keras")
    np.testing.assert_allclose(loaded(IMAGES), tower(IMAGES), atol=1e-6)
    gamma, beta, mean, variance = changes_in_a_step(loaded)
    assert min(gamma, beta) > 0
    assert (mean == variance == 0) == freeze


@pytest.mark.parametrize(
    ("backbone", "freeze", "drops"),
    [("normed", True, False), ("normed", False, True), ("dropping", True, True)],
)
def test_dropout_is_off_only_in_a_backbone_whose_batch_norm_is_frozen(
    backbone, freeze, drops
):
    tower = build_tower(backbone, 4, 8, None, freeze_batch_norm=freeze)
    # Unit-norm rows of one image repeated differ in training only by what is dropped.
    rows = tower(np.repeat(IMAGES[:1], 4, axis=0), training=True)
    assert (np.abs(rows - rows[:1]).max() > 1e-3) == drops
