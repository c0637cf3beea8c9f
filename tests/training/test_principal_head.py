"""The last layer as principal components, beside scikit-learn's."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.decomposition import PCA

import ms_keras
from ms_keras.training.principal_head import begin_as_components

CHANNELS = 128  # of small_conv


@pytest.fixture
def tower():
    tf.keras.utils.set_random_seed(0)
    return ms_keras.build_tower("small_conv", 16, 24, weights="none")


def features(count, rank=CHANNELS):
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(count, rank)) * np.geomspace(1, 0.01, rank)
    return (3 + mixed @ rng.normal(size=(rank, CHANNELS))).astype("float32")


def test_components_are_scikit_learns_over_fourth_roots_of_variance(tower):
    rows = features(300)
    assert begin_as_components(tower, rows) == 16
    kernel, bias = tower.get_layer("embedding").get_weights()
    peer = PCA(16, svd_solver="full").fit(rows.astype("float64"))
    expected = peer.transform(rows) / peer.explained_variance_**0.25
    got = rows.astype("float64") @ kernel + bias
    scale = np.linalg.norm(got, axis=0) / np.linalg.norm(expected, axis=0)
    np.testing.assert_allclose(scale, scale[0], rtol=1e-3)
    signs = np.sign((got * expected).sum(axis=0))
    np.testing.assert_allclose(
        got, expected * signs * scale[0], atol=1e-3 * np.abs(got).max()
    )
    # As large as a random layer: a variance of 2 / 16 each.
    assert np.square(kernel).mean() == pytest.approx(2 / 16, rel=1e-5)


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        (features(1), 0),
        (features(5), 4),
        (features(300, rank=3), 3),
        (np.full((20, CHANNELS), 7, "float32"), 0),
        (np.zeros((20, CHANNELS), "float32"), 0),
        (features(300) * 1e-12, 16),
        (features(300) * 1e12, 16),
    ],
    ids=["one", "few", "low_rank", "constant", "zero", "tiny", "huge"],
)
def test_dimensions_without_a_component_keep_their_numbers(tower, rows, count):
    layer = tower.get_layer("embedding")
    kernel, bias = layer.get_weights()
    assert begin_as_components(tower, rows) == count
    after, bias_after = layer.get_weights()
    np.testing.assert_array_equal(after[:, count:], kernel[:, count:])
    np.testing.assert_array_equal(bias_after[count:], bias[count:])
    assert np.isfinite(after).all()
    assert np.isfinite(bias_after).all()
    if count:
        size = np.square(after[:, :count]).mean()
        assert size == pytest.approx(2 / 16, rel=1e-4)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((5, 7)), r"\[n, 128\].*\(5, 7\)"),
        (np.zeros(128), r"\(128,\)"),
        (np.zeros((0, 128)), r"one image or more.*\(0, 128\)"),
        (np.full((5, 128), np.nan), "NaN or infinity"),
        (np.full((5, 128), np.inf), "NaN or infinity"),
    ],
)
def test_other_features_are_refused(tower, rows, message):
    before = tower.get_layer("embedding").get_weights()
    with pytest.raises(ValueError, match=message):
        begin_as_components(tower, rows)
    for mine, theirs in zip(
        tower.get_layer("embedding").get_weights(), before, strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
