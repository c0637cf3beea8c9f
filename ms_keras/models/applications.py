"""Every `tf.keras.applications` network as a backbone, by name."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from ms_keras.models.weights import load_backbone_weights

# How each family wants its pixels; the whole class name must match.
_PREPROCESSING = {
    "tf": r"MobileNet(V2)?|ResNet\d+V2|Inception(V3|ResNetV2)|NASNet\w+|Xception",
    "caffe": r"ResNet\d+|VGG\d+",
    "torch": r"DenseNet\d+|EfficientNetB\d",
    # These rescale inside the network.
    "none": r"ConvNeXt\w+|EfficientNetV2\w+|MobileNetV3\w+|RegNet\w+|ResNetRS\d+",
}
_WIDTH = re.compile(r"(?P<name>mobile_?net.*)_(?P<alpha>\d+\.\d+)", re.IGNORECASE)


def application_names() -> list[str]:
    """Returns the names of the available networks in snake_case, sorted."""
    return sorted(map(_snake_case, _classes().values()))


def find_application(name: str) -> tuple[str, Callable[..., tf.keras.Model]] | None:
    """Looks up a network by name.

    Args:
        name: As in `application_names()` or as Keras spells it; case and underscores
            do not matter. MobileNets take their width as a suffix,
            `mobilenet_v2_0.35`.

    Returns:
        The mode of its preprocessing, and a function from an image size and weights
        (`None`, `"imagenet"` or the path of a backbone's weights file) to the network
        without its classification top; or `None` if no network has that name.
    """
    width = _WIDTH.fullmatch(name)
    class_name = _classes().get(_squeezed(width["name"] if width else name))
    if class_name is None:
        return None
    options = {"alpha": float(width["alpha"])} if width else {}
    build = functools.partial(_build, class_name, name, options)
    return _preprocessing(class_name) or "none", build


def _build(
    class_name: str,
    name: str,
    options: dict[str, float],
    image_size: int,
    weights: str | Path | None,
) -> tf.keras.Model:
    construct = functools.partial(
        getattr(tf.keras.applications, class_name),
        include_top=False,
        input_shape=(image_size, image_size, 3),
        **options,
    )
    network = (
        _downloaded(construct, name)
        if weights == "imagenet"
        else construct(weights=None)
    )
    if isinstance(weights, Path):
        load_backbone_weights(network, weights, name)
    if class_name.startswith("EfficientNetB"):
        network = _without_preprocessing(network)
    return network


def _downloaded(construct: Callable[..., tf.keras.Model], name: str) -> tf.keras.Model:
    try:
        return construct(weights="imagenet")
    except Exception as error:  # the very class that Keras's downloader raises
        if "fetch failure" not in str(error):
            raise
        raise ValueError(
            f"Could not download the ImageNet weights of backbone {name!r}: {error}. "
            "Put the file into ~/.keras/models, where Keras looks for it, or pass "
            "its path as weights."
        ) from error


def _without_preprocessing(network: tf.keras.Model) -> tf.keras.Model:
    """Cuts the first layers off an EfficientNet of the first version.

    Keras gives it one scaling layer more when it is built with `weights="imagenet"`,
    and its normalization layer forgets restored statistics until it is finalized. A
    tower rebuilt for a checkpoint would therefore compute something else. "torch" is
    what both layers amount to.
    """
    return tf.keras.Model(
        network.get_layer("stem_conv_pad").input, network.output, name=network.name
    )


@functools.cache
def _classes() -> dict[str, str]:
    """Returns Keras's class name of each network by its squeezed name."""
    return {
        _squeezed(class_name): class_name
        for class_name in dir(tf.keras.applications)
        if _preprocessing(class_name) is not None
    }


def _preprocessing(class_name: str) -> str | None:
    for mode, pattern in _PREPROCESSING.items():
        if re.fullmatch(pattern, class_name):
            return mode
    return None


def _squeezed(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _snake_case(class_name: str) -> str:
    """Returns `mobilenet_v3_small` for `MobileNetV3Small`."""
    words = re.sub(r"Net|NeXt|AS|GG", lambda found: found[0].lower(), class_name)
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", words).lower()
