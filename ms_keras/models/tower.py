"""The embedding tower: preprocessing, backbone, pooling, embedding, unit norm."""

from __future__ import annotations

import difflib
import os

import tensorflow as tf

from ms_keras.models.backbone_layer import BackboneLayer
from ms_keras.models.backbones import find_backbone
from ms_keras.models.preprocessing import Preprocessing
from ms_keras.models.unit_rows import UnitRows
from ms_keras.models.weights import load_tower_weights, weights_sources

POOLINGS = ("avg", "max", "avg_max")
_FEATURES = "features"


def build_tower(
    backbone: str = "mobilenet_v2",
    embedding_dim: int = 512,
    image_size: int = 224,
    weights: str | os.PathLike[str] | None = "imagenet",
    pooling: str = "avg",
    freeze_batch_norm: str | bool = "statistics",
    freeze_until: str = "",
) -> tf.keras.Model:
    """Builds a network from images to unit-norm embeddings.

    Preprocessing is inside: the tower takes plain pixels. Whatever the dtype policy,
    features, embedding and output are float32.

    Args:
        backbone: A network of `tf.keras.applications` in snake_case (`resnet50`,
            `efficientnet_b0`), MobileNets with their width as suffix
            (`mobilenet_v2_0.35`); `bn_inception`, the paper's, for image sizes 32k-1
            to 32k+6; `resnet50_torch`, torchvision's, which Keras's `resnet50` is not;
            or `small_conv`, which trains from scratch on small drawings. A last suffix
            `_os16` (`resnet50_os16`) makes the last maps finer: a cell per 16 pixels,
            where most networks have one per 32. Weights fit as they are.
            Defaults to `"mobilenet_v2"`.
        embedding_dim: Length of an embedding. Defaults to `512`.
        image_size: Height and width of the images, in pixels. Defaults to `224`.
        weights: `"imagenet"` (downloaded by Keras, or found in its cache); the path of
            a backbone's `.h5` file, of what `convert_bn_inception` wrote, or of a whole
            tower's `.weights.h5` or `.keras` file; `"none"` or `None` for random ones.
            Defaults to `"imagenet"`.
        pooling: How feature maps become one row: their spatial mean `"avg"`, maximum
            `"max"`, or the sum of both, `"avg_max"` or `"avg+max"`. Defaults to
            `"avg"`.
        freeze_batch_norm: What of batch norm stays as it came with the weights.
            `"statistics"`: it normalises by the running mean and variance and leaves
            them as they are, while its gamma and beta train, as in the paper's code;
            `"all"`: gamma and beta stay too. A backbone with batch norm then runs in
            inference mode as a whole: its dropout and stochastic depth, if any, are off
            too. `"none"`: pass it to train such a backbone from random weights.
            Backbones without batch norm are not affected. `True` and `False` stand for
            the first and the last. Defaults to `"statistics"`.
        freeze_until: A layer of the backbone, such as `"block_2_add"`; it and all
            layers below it do not train. The lowest layers have the largest maps, so
            that a training step without their gradients may take half the time.
            Defaults to `""`, all layers train.

    Returns:
        A model from `[batch, image_size, image_size, 3]` float32 RGB of 0-255 to
        `[batch, embedding_dim]` float32 rows of norm 1.

    Raises:
        ValueError: If the backbone, its layer, the pooling or what is frozen is
            unknown, a size is not positive or too small for the backbone, or the
            weights are missing or belong to another network.

    Example:
    ```python
    tower = ms_keras.build_tower("resnet50", embedding_dim=128)
    tower.compile(optimizer="adam", loss=ms_keras.MultiSimilarityLoss())
    ```
    """
    recipe = find_backbone(backbone)
    _check_positive(embedding_dim=embedding_dim, image_size=image_size)
    backbone_weights, tower_weights = weights_sources(weights)
    network = recipe.build(image_size, backbone_weights)
    if freeze_until:
        _freeze(network, freeze_until)

    images = tf.keras.Input((image_size, image_size, 3), dtype="float32", name="images")
    pixels = Preprocessing(recipe.preprocessing, name="preprocessing")(images)
    maps = BackboneLayer(network, freeze_batch_norm, name="backbone")(pixels)
    embeddings = _embedding(embedding_dim)(_pooled(maps, pooling))
    tower = tf.keras.Model(images, UnitRows(name="unit_rows")(embeddings), name="tower")
    if tower_weights:
        load_tower_weights(tower, tower_weights)
    return tower


def features_of(tower: tf.keras.Model) -> tf.keras.Model:
    """Cuts a tower at its pooled features, before the embedding.

    Args:
        tower: A model that `build_tower` made, or one loaded from its file.

    Returns:
        A model from the tower's images to `[batch, channels]` float32, sharing the
        tower's weights.

    Raises:
        ValueError: If the model is not such a tower.
    """
    names = [layer.name for layer in tower.layers]
    if _FEATURES not in names:
        raise ValueError(
            f"Expected a tower made by build_tower, with a layer {_FEATURES!r}; got "
            f"model {tower.name!r} with layers {names}."
        )
    features = tower.get_layer(_FEATURES).output
    return tf.keras.Model(tower.input, features, name=_FEATURES)


def _freeze(network: tf.keras.Model, until: str) -> None:
    """Makes a layer and all that it is computed from untrainable."""
    names = [layer.name for layer in network.layers]
    if until not in names:
        similar = difflib.get_close_matches(until, names, n=3) or names
        raise ValueError(
            f"freeze_until must name a layer of backbone {network.name!r}; got "
            f"{until!r}. Similar ones: {', '.join(similar)}."
        )
    lower = tf.keras.Model(network.input, network.get_layer(until).output)
    for layer in lower.layers:
        layer.trainable = False


def _embedding(dim: int) -> tf.keras.layers.Layer:
    """Returns the last layer, initialised as the paper's code does.

    That is PyTorch's `kaiming_normal_(mode="fan_out")`: a plain normal distribution of
    variance 2 / dim, and a bias of 0.
    """
    return tf.keras.layers.Dense(
        dim,
        kernel_initializer=tf.keras.initializers.VarianceScaling(
            scale=2.0, mode="fan_out", distribution="untruncated_normal"
        ),
        dtype="float32",
        name="embedding",
    )


def _pooled(maps: tf.Tensor, pooling: str) -> tf.Tensor:
    average = tf.keras.layers.GlobalAveragePooling2D
    maximum = tf.keras.layers.GlobalMaxPooling2D
    if pooling == "avg":
        return average(dtype="float32", name=_FEATURES)(maps)
    if pooling == "max":
        return maximum(dtype="float32", name=_FEATURES)(maps)
    if pooling in ("avg_max", "avg+max"):
        both = [average(dtype="float32")(maps), maximum(dtype="float32")(maps)]
        return tf.keras.layers.Add(dtype="float32", name=_FEATURES)(both)
    raise ValueError(f"pooling must be one of {POOLINGS}; got {pooling!r}.")


def _check_positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"{name} must be a positive integer; got {size!r}.")
