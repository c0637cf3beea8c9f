"""A tower whose lower layers do not train."""

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.models import backbones, build_tower

IMAGES = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3)).astype("float32")


def network_with_branches(image_size):
    """Below `joined`: stem, left, right. Beside it: aside. Above: top."""
    images = tf.keras.Input((image_size, image_size, 3))

    def conv(name):
        return tf.keras.layers.Conv2D(4, 3, padding="same", name=name)

    stem = tf.keras.layers.BatchNormalization(name="norm")(conv("stem")(images))
    branches = [conv("left")(stem), conv("right")(stem)]
    joined = tf.keras.layers.Add(name="joined")(branches)
    aside = conv("aside")(stem)
    top = conv("top")(tf.keras.layers.Add(name="both")([joined, aside]))
    return tf.keras.Model(images, top, name="branches")


@pytest.fixture(autouse=True)
def own_backbone(monkeypatch):
    monkeypatch.setitem(backbones._OWN, "branches", ("tf", network_with_branches))


def moved_in_a_step(tower):
    """Returns the layers of the backbone whose weights change in a training step."""
    layers = [x for x in tower.get_layer("backbone").layer.layers if x.weights]
    before = [layer.get_weights() for layer in layers]
    tower.compile(tf.keras.optimizers.SGD(0.1), loss="mse")
    tower.fit(IMAGES, np.eye(4), verbose=0)
    return {
        layer.name
        for layer, old in zip(layers, before, strict=True)
        if any(np.any(a != b) for a, b in zip(layer.get_weights(), old, strict=True))
    }


@pytest.mark.parametrize("freeze_batch_norm", [True, False])
def test_a_layer_and_what_it_is_computed_from_stay(freeze_batch_norm):
    options = {"freeze_batch_norm": freeze_batch_norm, "freeze_until": "joined"}
    tower = build_tower("branches", 4, 8, None, **options)
    assert moved_in_a_step(tower) == {"aside", "top"}


def test_without_it_all_layers_train():
    tower = build_tower("branches", 4, 8, None)
    assert moved_in_a_step(tower) == {"stem", "norm", "left", "right", "aside", "top"}


def test_the_choice_survives_a_file(tmp_path):
    tower = build_tower("branches", 4, 8, None, freeze_until="joined")
    tower.save(tmp_path / "tower.keras")
    loaded = tf.keras.models.load_model(tmp_path / "tower.keras")
    np.testing.assert_allclose(loaded(IMAGES), tower(IMAGES), atol=1e-6)
    assert moved_in_a_step(loaded) == {"aside", "top"}


def test_its_weights_load_into_a_tower_that_trains_whole(tmp_path):
    tower = build_tower("branches", 4, 8, None, freeze_until="joined")
    tower.save_weights(tmp_path / "tower.weights.h5")
    whole = build_tower("branches", 4, 8, tmp_path / "tower.weights.h5")
    np.testing.assert_allclose(whole(IMAGES), tower(IMAGES), atol=1e-6)


def test_an_unknown_layer_is_refused_with_similar_names():
    with pytest.raises(ValueError, match=r"got 'joind'\. Similar ones: joined"):
        build_tower("branches", 4, 8, None, freeze_until="joind")
