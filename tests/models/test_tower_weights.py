"""Weights from files: ImageNet's, whole towers', and files that do not fit."""

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.models import build_tower, features_of

PUBLISHED = "keras_home/models/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_"


@pytest.mark.parametrize(("alpha", "key"), [("0.35", "alpha_035"), ("1.0", "alpha_10")])
def test_published_weights_give_the_published_features(alpha, key, test_data, golden):
    expected = np.load(golden / "mobilenet_v2_features.npz")
    weights = test_data / f"{PUBLISHED}{alpha}_224_no_top.h5"
    tower = build_tower(f"mobilenet_v2_{alpha}", weights=weights)
    features = features_of(tower)(expected["images"].astype("float32"))
    np.testing.assert_allclose(features, expected[key], atol=1e-4)


def test_a_backbones_file_fits_any_image_size(test_data):
    weights = test_data / f"{PUBLISHED}0.35_224_no_top.h5"
    towers = [build_tower("mobilenet_v2_0.35", 4, size, weights) for size in (224, 64)]
    backbone_weights = [features_of(tower).get_weights() for tower in towers]
    for first, second in zip(*backbone_weights, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_backbones_file_of_another_network_is_refused(test_data):
    weights = test_data / f"{PUBLISHED}0.35_224_no_top.h5"
    with pytest.raises(ValueError, match=r"backbone 'mobilenet_v2_0.5'.*no_top"):
        build_tower("mobilenet_v2_0.5", 4, 32, weights)
    with pytest.raises(ValueError, match=r"backbone 'small_conv'.*no_top"):
        build_tower("small_conv", 4, 32, str(weights))


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_a_towers_file_restores_the_whole_tower(ending, tmp_path):
    tower = build_tower("small_conv", 8, 32, weights="none")
    tower.compile("adam", loss="mse")  # whose state must not count as weights
    tower.train_on_batch(np.ones((2, 32, 32, 3)), np.ones((2, 8)))
    path = tmp_path / f"tower{ending}"
    tower.save(path) if ending == ".keras" else tower.save_weights(str(path))
    # Another image size: the weights are the same.
    restored = build_tower("small_conv", 8, 48, weights=path)
    for first, second in zip(tower.get_weights(), restored.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
@pytest.mark.parametrize(
    "other", [{"backbone": "mobilenet_v2_0.35"}, {"embedding_dim": 4}]
)
def test_a_towers_file_of_another_architecture_is_refused(ending, other, tmp_path):
    tower = build_tower("small_conv", 8, 32, weights=None)
    path = tmp_path / f"tower{ending}"
    tower.save(path) if ending == ".keras" else tower.save_weights(str(path))
    arguments = {"backbone": "small_conv", "embedding_dim": 8, **other}
    with pytest.raises(ValueError, match="does not hold the weights of this tower"):
        build_tower(**arguments, image_size=32, weights=path)


def test_a_file_with_layers_more_than_the_tower_is_refused(tmp_path):
    # Keras itself would fill the tower from it and ignore the rest.
    tower = build_tower("small_conv", 8, 32, weights=None)
    longer = tf.keras.Sequential([*tower.layers, tf.keras.layers.Dense(3)])
    longer.build((None, 32, 32, 3))
    path = tmp_path / "longer.weights.h5"
    longer.save_weights(str(path))
    with pytest.raises(ValueError, match=r"16 arrays in the file, 14 in the tower"):
        build_tower("small_conv", 8, 32, weights=path)


def test_missing_file_tells_what_weights_may_be():
    with pytest.raises(ValueError, match=r"'imagenet', 'none' or .*'no/such.h5'"):
        build_tower("small_conv", weights="no/such.h5")


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"anything")
    with pytest.raises(ValueError, match=r"ends in \.h5.*weights\.pth"):
        build_tower("small_conv", weights=path)


@pytest.mark.parametrize("name", ["a.h5", "a.weights.h5", "a.keras"])
def test_a_damaged_file_is_refused_by_name(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"half a download")
    with pytest.raises(ValueError, match=name):
        build_tower("small_conv", 8, 32, weights=path)
