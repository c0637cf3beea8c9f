"""BN-Inception against numbers computed elsewhere, and as a tower's backbone."""

import json
import zlib

import numpy as np
import pytest
import tensorflow as tf

import ms_keras
from ms_keras.models import build_tower, features_of
from ms_keras.models.backbones import find_backbone
from ms_keras.models.bn_inception import bn_inception
from ms_keras.models.convert_bn_inception import fill
from ms_keras.models.preprocessing import Preprocessing
from ms_keras.models.weights import save_backbone_weights
from ms_keras.serving import save_serving_model

POOLS = (
    "pool1_3x3_s2",
    "pool2_3x3_s2",
    "inception_3c_pool",
    "inception_4e_pool",
    "inception_5b_pool",
)
IMAGES = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")


def golden_tensor(name, shape):
    """The rule of golden/README.md."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape).astype("f4")
    if name.endswith("running_mean"):
        return (0.1 * rng.standard_normal(shape)).astype("f4")
    if "_bn.weight" in name:
        return rng.uniform(0.8, 1.2, shape).astype("f4")
    if name.endswith("bias"):
        return (0.05 * rng.standard_normal(shape)).astype("f4")
    scale = np.sqrt(2.0 / np.prod(shape[1:]))
    return (rng.standard_normal(shape) * scale).astype("f4")


def assert_close(actual, expected):
    """To 1e-3, and to rounding errors where large numbers cancel."""
    rounding = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=rounding)


@pytest.fixture(scope="module")
def golden_weights(golden, tmp_path_factory):
    """A converted file of the weights behind the golden numbers."""
    listed = json.loads((golden / "bn_inception_state_dict.json").read_text())
    network = bn_inception(32)
    fill(network, {name: golden_tensor(name, shape) for name, shape in listed})
    path = tmp_path_factory.mktemp("converted") / "bn_inception.weights.h5"
    save_backbone_weights(network, path)
    return path


@pytest.fixture(scope="module")
def tower():
    return build_tower("bn_inception", 8, 32, weights=None, pooling="max")


def test_every_pool_and_the_features_are_those_of_pytorch(golden, golden_weights):
    expected = np.load(golden / "bn_inception.npz")
    network = find_backbone("bn_inception").build(227, golden_weights)
    outputs = [network.get_layer(name).output for name in POOLS]
    probed = tf.keras.Model(network.input, [*outputs, network.output])
    images = np.random.default_rng(7).uniform(-128, 128, (2, 227, 227, 3))
    *pools, features = probed(images.astype("f4"))
    for name, maps in zip(POOLS, pools, strict=True):
        assert tuple(maps.shape) == tuple(expected[f"shape_{name}"])
        assert_close(np.mean(maps, axis=(0, 1, 2)), expected[f"mean_{name}"])
    assert_close(features, expected["features_nhwc"])


@pytest.mark.parametrize(
    ("pooling", "key"), [("max", "global_max"), ("avg", "global_avg")]
)
def test_a_tower_gives_its_backbone_bgr_minus_the_mean(
    pooling, key, golden, golden_weights
):
    tower = build_tower("bn_inception", 8, 227, golden_weights, pooling=pooling)
    expected = np.load(golden / "bn_inception.npz")[key]
    bgr = np.random.default_rng(7).uniform(-128, 128, (2, 227, 227, 3))
    rgb = (bgr + np.array([104, 117, 128]))[..., ::-1]
    assert_close(features_of(tower)(rgb.astype("f4")), expected)


def test_pixels_become_bgr_minus_the_mean():
    layer = Preprocessing(find_backbone("bn_inception").preprocessing)
    result = layer(tf.constant([[[[10.0, 20.0, 30.0]]]]))
    np.testing.assert_allclose(result[0, 0, 0], [30 - 104, 20 - 117, 10 - 128])


def test_inner_average_pools_count_their_padding():
    network = bn_inception(32)
    ones = tf.ones((1, 4, 4, 192))
    padded = network.get_layer("inception_3a_pool_padding")(ones)
    pooled = network.get_layer("inception_3a_pool")(padded)[0, ..., 0]
    np.testing.assert_allclose(pooled[0], [4 / 9, 6 / 9, 6 / 9, 4 / 9], rtol=1e-6)
    np.testing.assert_allclose(pooled[1], [6 / 9, 1, 1, 6 / 9], rtol=1e-6)


@pytest.mark.parametrize(
    ("image_size", "expected"),
    [(31, 1), (32, 1), (38, 1), (63, 2), (224, 7), (227, 7), (230, 7), (256, 8)],
)
def test_sizes_around_a_multiple_of_32_fit(image_size, expected):
    assert bn_inception(image_size).output_shape == (None, expected, expected, 1024)


@pytest.mark.parametrize(
    ("image_size", "fits"),
    [(1, "32 or 64"), (30, "32 or 64"), (39, "32 or 64"), (240, "224 or 256")],
)
def test_other_sizes_are_refused_with_ones_that_fit(image_size, fits):
    with pytest.raises(ValueError, match=rf"227; got {image_size}\. Take {fits}\."):
        build_tower("bn_inception", image_size=image_size, weights=None)


def test_imagenet_weights_tell_where_they_are_and_how_to_convert():
    with pytest.raises(ValueError, match=r"http.*52deb4733\.pth.*convert_bn_inception"):
        build_tower("bn_inception", weights="imagenet")


def test_gamma_and_beta_train_while_statistics_are_frozen(tower):
    tower.compile("sgd", loss=ms_keras.MultiSimilarityLoss())
    layer = tower.get_layer("backbone").layer.get_layer("inception_4e_3x3_bn")
    before = layer.get_weights()
    tower.train_on_batch(IMAGES, np.array([0, 0, 1, 1]))
    pairs = zip(before, layer.get_weights(), strict=True)
    gamma, beta, mean, variance = (np.abs(new - old).max() for old, new in pairs)
    assert min(gamma, beta) > 0
    assert mean == variance == 0
    assert np.isfinite(tower(IMAGES)).all()


def test_it_is_served_as_it_computes(tower, tmp_path):
    save_serving_model(tower, tmp_path / "1", short_side=36)
    served = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    rows = served(images=IMAGES)["embeddings"]
    np.testing.assert_allclose(rows, tower(IMAGES), atol=1e-5)


def test_a_towers_file_restores_the_whole_tower(tower, tmp_path):
    path = tmp_path / "tower.weights.h5"
    tower.save_weights(str(path))
    restored = build_tower("bn_inception", 8, 32, weights=path, pooling="max")
    np.testing.assert_allclose(restored(IMAGES), tower(IMAGES), atol=1e-6)
