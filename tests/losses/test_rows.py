"""The closed-form gradient of unit rows against TensorFlow's and a formula."""

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.losses.rows import unit_rows_of_a_loss
from ms_keras.unit_rows import unit_rows

RNG = np.random.default_rng(0)


def gradient(function, rows, upstream):
    rows = tf.constant(rows)
    with tf.GradientTape() as tape:
        tape.watch(rows)
        units = function(rows)
    return units.numpy(), tape.gradient(units, rows, tf.constant(upstream)).numpy()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_values_and_gradients_are_those_of_unit_rows(dtype):
    rows, upstream = (RNG.normal(size=(7, 33)).astype(dtype) for _ in range(2))
    rows[3] = 0
    for ours, theirs in zip(
        gradient(unit_rows_of_a_loss, rows, upstream),
        gradient(unit_rows, rows, upstream),
        strict=True,
    ):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs, atol=1e-6 if dtype == "f4" else 1e-14)
        assert not ours[3].any()


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20, 1e30])
def test_huge_and_tiny_rows_lose_nothing(scale):
    rows, upstream = RNG.normal(size=(2, 4, 9))
    expected = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    tangent = upstream - (upstream * expected).sum(1, keepdims=True) * expected
    tangent /= np.linalg.norm(rows, axis=1, keepdims=True)
    units, found = gradient(
        unit_rows_of_a_loss, (scale * rows).astype("f4"), upstream.astype("f4")
    )
    np.testing.assert_allclose(units, expected, rtol=1e-5)
    np.testing.assert_allclose(found * scale, tangent, rtol=1e-3, atol=1e-5)


def test_nan_is_not_hidden():
    rows = np.ones((2, 3), "f4")
    rows[1, 2] = np.nan
    units, found = gradient(unit_rows_of_a_loss, rows, np.ones((2, 3), "f4"))
    assert np.isfinite(units[0]).all()
    assert np.isnan(units[1]).all()
    assert np.isnan(found[1]).all()
