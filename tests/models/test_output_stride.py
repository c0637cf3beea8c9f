"""Backbones with finer maps."""

import numpy as np
import pytest
import tensorflow as tf

import ms_keras
from ms_keras.models.backbones import find_backbone
from ms_keras.models.output_stride import with_output_stride

LAYERS = tf.keras.layers


def images(size, count=2):
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (count, size, size, 3)).astype("float32")


@pytest.mark.parametrize(
    ("name", "size", "stride", "cells"),
    [
        ("mobilenet", 96, 16, 6),
        ("mobilenet_v2_0.35", 160, 16, 10),
        ("mobilenet_v2_0.35", 32, 16, 2),
        ("mobilenet_v2_0.35", 40, 16, 3),
        ("mobilenet_v2_0.35", 160, 8, 20),
        ("mobilenet_v2_0.35", 160, 32, 5),
        ("mobilenet_v3_small", 96, 16, 6),
        ("resnet50", 96, 16, 6),
        ("resnet50v2", 96, 16, 6),
        ("resnet50_torch", 96, 16, 6),
        ("bn_inception", 227, 16, 14),
        ("efficientnet_b0", 64, 16, 4),
        ("efficientnet_v2_b0", 64, 16, 4),
        ("vgg16", 64, 16, 3),
        ("small_conv", 48, 1, 48),
    ],
)
def test_maps_are_finer_and_weights_the_same(name, size, stride, cells):
    network = find_backbone(name).build(size, None)
    finer = with_output_stride(network, stride)
    assert finer.output_shape == (None, cells, cells, network.output_shape[-1])
    names = [layer.name for layer in network.layers if layer.weights]
    assert [layer.name for layer in finer.layers if layer.weights] == names
    for mine, theirs in zip(finer.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    "layer_of",
    [
        lambda kernel: LAYERS.Conv2D(4, kernel, strides=2, padding="same"),
        lambda kernel: LAYERS.DepthwiseConv2D(kernel, strides=2, padding="same"),
        lambda kernel: LAYERS.SeparableConv2D(4, kernel, strides=2, padding="same"),
        lambda kernel: LAYERS.MaxPooling2D(kernel, strides=2, padding="same"),
        lambda kernel: LAYERS.AveragePooling2D(kernel, strides=2, padding="same"),
    ],
    ids=["conv", "depthwise", "separable", "max_pool", "average_pool"],
)
@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("size", [16, 17])
def test_every_second_cell_is_as_before(layer_of, kernel, size):
    inputs = tf.keras.Input((size, size, 3))
    network = tf.keras.Model(inputs, layer_of(kernel)(inputs))
    before = network(images(size)).numpy()
    after = with_output_stride(network, 1)(images(size)).numpy()
    # A stride of 2 pads even maps by one cell less, on the near side if there is one.
    shift = 1 if size == 16 and kernel == 3 else 0
    np.testing.assert_allclose(after[:, shift::2, shift::2], before, atol=1e-6)


@pytest.mark.parametrize(("size", "shift"), [(64, 1), (72, 0)])  # maps of 4 and of 5
def test_explicit_padding_suits_the_stride(size, shift):
    network = find_backbone("mobilenet_v2_0.35").build(size, None)
    finer = with_output_stride(network, 16)

    def moved(model):
        layer = model.get_layer("block_13_depthwise")
        return tf.keras.Model(model.input, layer.output)(images(size)).numpy()

    before, after = moved(network), moved(finer)
    np.testing.assert_allclose(after[:, shift::2, shift::2], before, atol=1e-6)


def test_upper_layers_see_the_image_enlarged():
    """What lies above the dropped stride is the untouched network on larger maps."""
    size = 64
    network = find_backbone("mobilenet_v2_0.35").build(size, None)
    finer = with_output_stride(network, 16)
    lower = tf.keras.Model(finer.input, finer.get_layer("block_13_depthwise").output)
    larger = find_backbone("mobilenet_v2_0.35").build(2 * size, None)
    larger.set_weights(network.get_weights())
    upper = tf.keras.Model(larger.get_layer("block_13_depthwise").output, larger.output)
    np.testing.assert_allclose(
        upper(lower(images(size))), finer(images(size)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        (
            "mobilenet_v2_0.35_os64",
            64,
            "one of 1, 2, 4, 8, 16, 32, the last its own; got 64",
        ),
        ("mobilenet_v2_0.35_os12", 64, "got 12"),
        ("mobilenet_v2_0.35_os0", 64, "got 0"),
        ("small_conv_os16", 48, "one of 1, 2, 4, 8, the last"),
        ("convnext_tiny_os16", 64, "'convnext_tiny_stem' is a network of its own"),
        ("nasnet_mobile_os16", 96, "(?i)nasnet.*do not fit"),
    ],
)
def test_impossible_strides_are_refused(name, size, message):
    with pytest.raises(ValueError, match=message):
        ms_keras.build_tower(name, image_size=size, weights="none")


@pytest.mark.parametrize("name", ["MobileNetV2_0.35_OS16", "mobilenetv2_0.35_os16"])
def test_spelling_does_not_matter(name):
    assert find_backbone(name).build(64, None).output_shape == (None, 4, 4, 1280)


@pytest.mark.parametrize("name", ["resnet51_os16", "resnet50_os", "_os16"])
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match="Unknown backbone"):
        find_backbone(name)


def test_a_tower_saves_loads_and_takes_weights_of_the_coarse_one(tmp_path):
    def tower(name):
        return ms_keras.build_tower(name, 8, 64, weights="none")

    coarse, finer = tower("mobilenet_v2_0.35"), tower("mobilenet_v2_0.35_os16")
    coarse.save_weights(tmp_path / "coarse.weights.h5")
    weights = str(tmp_path / "coarse.weights.h5")
    filled = ms_keras.build_tower("mobilenet_v2_0.35_os16", 8, 64, weights)
    pixels = 127.5 * (images(64) + 1)
    finer.set_weights(coarse.get_weights())
    np.testing.assert_allclose(filled(pixels), finer(pixels), atol=1e-6)
    assert np.abs(finer(pixels) - coarse(pixels)).max() > 1e-3

    finer.save(tmp_path / "tower.keras")
    loaded = tf.keras.models.load_model(tmp_path / "tower.keras")
    np.testing.assert_allclose(loaded(pixels), finer(pixels), atol=1e-6)


def test_lower_layers_freeze_and_upper_ones_train():
    tower = ms_keras.build_tower(
        "mobilenet_v2_0.35_os16", 8, 64, weights="none", freeze_until="block_12_add"
    )
    backbone = tower.get_layer("backbone").layer
    trained = [layer.name for layer in backbone.layers if layer.trainable_weights]
    assert trained[0] == "block_13_expand"
    assert "block_13_depthwise" in trained
