"""ResNet-50 against a naive restatement, and as a tower's backbone."""

import numpy as np
import pytest
import tensorflow as tf

import ms_keras
from ms_keras.models import build_tower, features_of
from ms_keras.models.backbones import find_backbone
from ms_keras.models.preprocessing import Preprocessing
from ms_keras.models.resnet50_torch import resnet50_torch
from ms_keras.models.weights import save_backbone_weights

IMAGES = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")
# Bottlenecks of each stage.
STAGES = {1: 3, 2: 4, 3: 6, 4: 3}


def randomised(network):
    """Sets weights that all matter: none as in a fresh layer, maps of some units."""
    rng = np.random.default_rng(1)
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            gamma, variance = rng.uniform(0.5, 1.5, (2, layer.gamma.shape[0]))
            beta, mean = 0.3 * rng.standard_normal((2, len(gamma)))
            if layer.name.endswith("bn3"):
                gamma *= 0.3  # or each bottleneck would double the maps
            layer.set_weights([gamma, beta, mean, variance])
        elif isinstance(layer, tf.keras.layers.Conv2D):
            shape = layer.kernel.shape
            scale = np.sqrt(2 / np.prod(shape[:3]))
            layer.set_weights([scale * rng.standard_normal(shape)])
    return network


class Restated:
    """The published network in plain NumPy, on one image, with a network's weights."""

    def __init__(self, network):
        self.network = network

    def convolved(self, maps, name, stride, padding):
        (kernel,) = self.network.get_layer(name).get_weights()
        return sum(
            window @ kernel[y, x]
            for y, x, window in windows(maps, kernel.shape[0], stride, padding, 0)
        )

    def normalised(self, maps, name):
        weights = self.network.get_layer(name).get_weights()
        gamma, beta, mean, variance = weights
        return gamma * (maps - mean) / np.sqrt(variance + 1e-5) + beta

    def bottleneck(self, maps, name, stride):
        rest = self.convolved(maps, f"{name}_conv1", 1, 0)
        rest = np.maximum(self.normalised(rest, f"{name}_bn1"), 0)
        rest = self.convolved(rest, f"{name}_conv2", stride, 1)
        rest = np.maximum(self.normalised(rest, f"{name}_bn2"), 0)
        rest = self.convolved(rest, f"{name}_conv3", 1, 0)
        rest = self.normalised(rest, f"{name}_bn3")
        if name.endswith("_0"):
            maps = self.convolved(maps, f"{name}_downsample_0", stride, 0)
            maps = self.normalised(maps, f"{name}_downsample_1")
        return np.maximum(maps + rest, 0)

    def __call__(self, image):
        maps = self.normalised(self.convolved(image, "conv1", 2, 3), "bn1")
        maps = np.maximum(maps, 0)
        pooled = [window for *_, window in windows(maps, 3, 2, 1, -np.inf)]
        maps = np.max(pooled, axis=0)
        for stage, count in STAGES.items():
            for i in range(count):
                stride = 2 if stage > 1 and i == 0 else 1
                maps = self.bottleneck(maps, f"layer{stage}_{i}", stride)
        return maps


def windows(maps, size, stride, padding, border):
    """Yields, per place in a window, what all windows see there."""
    wide = ((padding, padding), (padding, padding), (0, 0))
    padded = np.pad(maps, wide, constant_values=border)
    last = padded.shape[0] - size + 1
    for y in range(size):
        for x in range(size):
            yield y, x, padded[y : y + last : stride, x : x + last : stride]


@pytest.fixture(scope="module")
def network():
    return randomised(resnet50_torch(32))


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "resnet50_torch.weights.h5"
    save_backbone_weights(network, path)
    return path


@pytest.fixture(scope="module")
def tower(weights):
    return build_tower("resnet50_torch", 8, 32, weights=weights)


@pytest.mark.parametrize("image_size", [64, 75])  # even maps; odd and even
def test_feature_maps_are_those_of_the_published_network(image_size, network, weights):
    built = find_backbone("resnet50_torch").build(image_size, weights)
    image = np.random.default_rng(2).standard_normal((image_size, image_size, 3))
    expected = Restated(network)(image)
    actual = built(image[None].astype("f4"))[0]
    assert (expected > 0).mean() > 0.1
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * expected.max())


def test_it_has_the_parameters_of_torchvisions_without_the_top(network):
    trained = sum(np.prod(weight.shape) for weight in network.trainable_weights)
    assert trained == 25_557_032 - (2048 + 1) * 1000  # as torchvision documents it
    # The running mean and variance of each of 53 batch norms.
    channels = 64 + sum(
        count * (2 + 4) * 32 * 2**stage + 4 * 32 * 2**stage
        for stage, count in STAGES.items()
    )
    assert network.count_params() - trained == 2 * channels


@pytest.mark.parametrize(
    ("image_size", "expected"), [(1, 1), (33, 2), (224, 7), (225, 8)]
)
def test_maps_have_a_32nd_of_the_images_size_rounded_up(image_size, expected):
    built = resnet50_torch(image_size)
    assert built.output_shape == (None, expected, expected, 2048)


def test_only_3x3_convolutions_and_shortcuts_halve_the_maps(network):
    convolutions = [
        layer for layer in network.layers if isinstance(layer, tf.keras.layers.Conv2D)
    ]
    assert len(convolutions) == 53
    assert {layer.name for layer in convolutions if layer.strides == (2, 2)} == {
        "conv1",
        *(f"layer{i}_0_conv2" for i in (2, 3, 4)),
        *(f"layer{i}_0_downsample_0" for i in (2, 3, 4)),
    }


def test_pixels_are_standardised_by_imagenets_mean_and_deviation():
    layer = Preprocessing(find_backbone("resnet50_torch").preprocessing)
    result = layer(tf.constant([[[[51.0, 102.0, 255.0]]]]))
    expected = [(0.2 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(result[0, 0, 0], expected, rtol=1e-5)


def test_a_tower_pools_the_maps_of_standardised_pixels(tower, network):
    pixels = (IMAGES / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    expected = np.stack([Restated(network)(image).mean((0, 1)) for image in pixels])
    np.testing.assert_allclose(
        features_of(tower)(IMAGES), expected, rtol=0, atol=1e-4 * expected.max()
    )


def test_imagenet_weights_tell_where_they_are_and_how_to_convert():
    with pytest.raises(ValueError, match=r"https.*0676ba61\.pth.*convert_resnet50"):
        build_tower("resnet50_torch", weights="imagenet")


def test_keras_resnet50_refuses_its_weights(weights):
    with pytest.raises(ValueError, match=r"backbone 'resnet50'.*'resnet50_torch'"):
        build_tower("resnet50", 8, 32, weights=weights)


def test_above_a_frozen_bottleneck_gamma_and_beta_train_without_statistics(weights):
    tower = build_tower(
        "resnet50_torch", 8, 32, weights=weights, freeze_until="layer4_1"
    )
    tower.compile("sgd", loss=ms_keras.MultiSimilarityLoss())
    backbone = tower.get_layer("backbone").layer
    frozen, trained = map(backbone.get_layer, ("layer4_1_bn3", "layer4_2_bn1"))
    before = frozen.get_weights(), trained.get_weights()
    tower.train_on_batch(IMAGES, np.array([0, 0, 1, 1]))
    after = frozen.get_weights(), trained.get_weights()
    frozen_moved, trained_moved = (
        [np.abs(new - old).max() > 0 for new, old in zip(*states, strict=True)]
        for states in zip(after, before, strict=True)
    )
    assert frozen_moved == [False] * 4
    assert trained_moved == [True, True, False, False]
