"""Backbones by name."""

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.models.backbones import backbone_names, find_backbone


def test_every_listed_name_is_found():
    assert {"small_conv", "mobilenet_v2", "resnet50", "convnext_tiny"} <= set(
        backbone_names()
    )
    for name in backbone_names():
        find_backbone(name)


@pytest.mark.parametrize(
    ("name", "keras_name", "alpha"),
    [
        ("mobilenet_v3_small", "MobileNetV3Small", None),
        ("MobileNetV3Small", "MobileNetV3Small", None),
        ("mobilenetv3small_0.75", "MobileNetV3Small", 0.75),
        ("mobilenet_v2_0.35", "MobileNetV2", 0.35),
        ("MobileNetV2_1.4", "MobileNetV2", 1.4),
        ("resnet50v2", "ResNet50V2", None),
        ("EFFICIENTNETV2_B0", "EfficientNetV2B0", None),
    ],
)
def test_spellings_of_a_name_give_keras_network(name, keras_name, alpha, monkeypatch):
    asked = {}
    monkeypatch.setattr(tf.keras.applications, keras_name, asked.update)
    find_backbone(name).build(96, "imagenet")
    assert asked.get("alpha") == alpha
    assert asked["include_top"] is False
    assert asked["weights"] == "imagenet"
    assert asked["input_shape"] == (96, 96, 3)


@pytest.mark.parametrize(
    ("name", "similar"),
    [
        ("resnet5", "'resnet50'"),
        ("mobilenetv4", "'mobilenet_v"),
        ("efficientnet_b9", "'efficientnet_b"),
        ("small_conf", "'small_conv'"),
        ("resnet50_0.35", "'resnet50"),
        ("preprocess_input", "there are "),
        ("", "there are "),
    ],
)
def test_unknown_name_tells_similar_ones(name, similar):
    with pytest.raises(ValueError, match="Unknown backbone") as raised:
        find_backbone(name)
    assert similar in str(raised.value)


def test_failed_download_tells_where_the_file_goes(monkeypatch):
    def offline(**kwargs):
        # What tf.keras.utils.get_file raises.
        raise Exception("URL fetch failure on https://x/y.h5: None -- [Errno -2]")

    monkeypatch.setattr(tf.keras.applications, "VGG16", offline)
    with pytest.raises(
        ValueError, match=r"download.*'vgg16'.*https://x/y.h5.*keras/models"
    ):
        find_backbone("vgg16").build(32, "imagenet")


def test_small_conv_is_small_and_free_of_batch_norm():
    network = find_backbone("small_conv").build(48, None)
    assert 100_000 < network.count_params() < 300_000
    kinds = {type(layer).__name__ for layer in network.layers}
    assert "BatchNormalization" not in kinds
    assert network.output_shape == (None, 6, 6, 128)


def test_small_conv_has_no_imagenet_weights():
    with pytest.raises(ValueError, match=r"no ImageNet weights.*weights='none'"):
        find_backbone("small_conv").build(48, "imagenet")


def test_efficientnet_sees_standardised_pixels_whatever_its_file_says(tmp_path):
    # The published files hold, in the normalization layer that the tower cuts off,
    # statistics that Keras completes only under weights="imagenet".
    whole = tf.keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    path = tmp_path / "b0.weights.h5"
    whole.save_weights(str(path))
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("f4")
    mean, deviation = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    standardised = ((pixels / 255 - mean) / deviation).astype("f4")

    backbone = find_backbone("efficientnet_b0")
    network = backbone.build(32, path)
    assert backbone.preprocessing == "torch"
    # Without statistics the whole network's own layers only divide by 255.
    np.testing.assert_allclose(
        network(standardised), whole(standardised * 255), rtol=1e-4, atol=1e-4
    )
