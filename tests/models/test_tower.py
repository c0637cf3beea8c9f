"""The tower's output: shape, norm, precision, pooling, initialisation."""

import numpy as np
import pytest
import tensorflow as tf

import ms_keras
from ms_keras.models import build_tower, features_of
from ms_keras.models.unit_rows import UnitRows

IMAGES = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")


def small_tower(**options):
    return build_tower("small_conv", 16, 32, weights=None, **options)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
def test_rows_are_float32_of_norm_one_under_every_policy(policy):
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        tower = small_tower()
        features = features_of(tower)(IMAGES)
        rows = tower(IMAGES)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert rows.dtype == features.dtype == tf.float32
    assert rows.shape == (4, 16)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("pooling", ["avg", "max", "avg_max", "avg+max"])
def test_features_are_the_pooled_maps(pooling):
    tower = small_tower(pooling=pooling)
    maps = tower.get_layer("backbone")(tower.get_layer("preprocessing")(IMAGES))
    mean, largest = np.mean(maps, axis=(1, 2)), np.max(maps, axis=(1, 2))
    expected = {"avg": mean, "max": largest}.get(pooling, mean + largest)
    np.testing.assert_allclose(features_of(tower)(IMAGES), expected, atol=1e-5)


def test_features_and_tower_share_weights():
    tower = small_tower()
    features = features_of(tower)
    before = features(IMAGES)
    tower.set_weights([2 * weight for weight in tower.get_weights()])
    assert np.abs(features(IMAGES) - before).max() > 0.1


def test_features_of_another_model_are_refused():
    images = tf.keras.Input((3,), name="images")
    model = tf.keras.Model(images, tf.keras.layers.Dense(2)(images))
    with pytest.raises(ValueError, match=r"build_tower.*'features'"):
        features_of(model)


def test_embedding_starts_as_kaiming_normal_over_fan_out():
    tower = build_tower("small_conv", 256, 32, weights=None)
    kernel, bias = tower.get_layer("embedding").get_weights()
    assert np.all(bias == 0)
    # The paper's code: a plain normal distribution of variance 2 / fan_out.
    deviation = np.sqrt(2 / 256)
    assert np.std(kernel) == pytest.approx(deviation, rel=0.02)
    assert np.abs(kernel).max() > 3 * deviation  # not truncated at 2


def test_dead_features_stay_zero_and_stop_the_gradient():
    rows = tf.Variable([[0.0, 0.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        unit = UnitRows()(rows)
        loss = tf.reduce_sum(unit * [[1.0, 2.0], [1.0, 2.0]])
    np.testing.assert_allclose(unit, [[0, 0], [0.6, 0.8]], atol=1e-6)
    # (w - u (u.w)) / norm for w = (1, 2), u = (0.6, 0.8), norm 5
    expected = [[0, 0], [(1 - 0.6 * 2.2) / 5, (2 - 0.8 * 2.2) / 5]]
    np.testing.assert_allclose(tape.gradient(loss, rows), expected, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
def test_rows_of_any_size_get_norm_one(scale):
    # A deep network with random weights can shrink its features below 1e-20.
    rows = tf.constant([[3.0, -4.0]]) * scale
    np.testing.assert_allclose(UnitRows()(rows), [[0.6, -0.8]], atol=1e-6)


def test_a_tower_of_dead_features_trains_without_nan():
    tower = small_tower()
    network = tower.get_layer("backbone")
    network.set_weights([0 * weight for weight in network.get_weights()])
    tower.compile("sgd", loss=ms_keras.MultiSimilarityLoss())
    tower.train_on_batch(IMAGES, np.array([0, 0, 1, 1]))
    for weight in tower.get_weights():
        assert np.isfinite(weight).all()


def test_same_seed_gives_the_same_tower():
    towers = []
    for _ in range(2):
        tf.keras.utils.set_random_seed(3)
        towers.append(small_tower())
    for first, second in zip(*(tower.get_weights() for tower in towers), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "gem"}, r"pooling must be one of .*'avg_max'.*got 'gem'"),
        ({"embedding_dim": 0}, "embedding_dim must be a positive integer; got 0"),
        ({"image_size": -1}, "image_size must be a positive integer; got -1"),
        ({"backbone": "vgg16", "image_size": 8}, "at least 32"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    arguments = {"backbone": "small_conv", "weights": None, **options}
    with pytest.raises(ValueError, match=message):
        build_tower(**arguments)
