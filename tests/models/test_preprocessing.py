"""Preprocessing against each application's own function."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.models.backbones import find_backbone
from ms_keras.models.preprocessing import Preprocessing

PIXELS = np.random.default_rng(0).uniform(0, 255, (2, 5, 4, 3)).astype("float32")


def own_preprocessing() -> dict:
    """Returns each application's `preprocess_input`, by the application's name."""
    modules = inspect.getmembers(tf.keras.applications, inspect.ismodule)
    found = {}
    for _, module in modules:
        for name, member in inspect.getmembers(module, callable):
            if name[0].isupper() and hasattr(module, "preprocess_input"):
                found[name] = module.preprocess_input
                assert member is getattr(tf.keras.applications, name)
    # Keras publishes these two beside their module, not in it.
    for name in ("MobileNetV3Small", "MobileNetV3Large"):
        found[name] = tf.keras.applications.mobilenet_v3.preprocess_input
    return found


def all_applications() -> list[str]:
    members = inspect.getmembers(tf.keras.applications, callable)
    return [name for name, _ in members if name[0].isupper()]


def test_every_application_is_a_backbone():
    assert len(all_applications()) >= 40
    assert set(own_preprocessing()) == set(all_applications())
    for name in all_applications():
        find_backbone(name)


# EfficientNet's first version is cut behind its own preprocessing; see test_backbones.
@pytest.mark.parametrize(
    "name", [n for n in all_applications() if not n.startswith("EfficientNetB")]
)
def test_pixels_arrive_as_the_application_expects(name):
    layer = Preprocessing(find_backbone(name).preprocessing)
    expected = own_preprocessing()[name](PIXELS.copy())
    np.testing.assert_allclose(layer(PIXELS), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_keeps_fractions_of_a_grey_level(policy):
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        layer = Preprocessing("caffe")
        result = layer(tf.constant([[[[200.125, 200.25, 200.5]]]]))
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert result.dtype == tf.float32
    expected = [200.5 - 103.939, 200.25 - 116.779, 200.125 - 123.68]
    np.testing.assert_allclose(result[0, 0, 0], expected, atol=1e-4)


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match=r"mode must be one of .*'tf'.* got 'gray'"):
        Preprocessing("gray")
