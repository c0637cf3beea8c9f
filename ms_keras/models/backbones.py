"""The backbones by name: Keras's applications and our own."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from ms_keras.models.applications import application_names, find_application
from ms_keras.models.bn_inception import HOW_TO_GET_WEIGHTS as BN_INCEPTION_WEIGHTS
from ms_keras.models.bn_inception import bn_inception
from ms_keras.models.output_stride import with_output_stride
from ms_keras.models.resnet50_torch import HOW_TO_GET_WEIGHTS as RESNET50_WEIGHTS
from ms_keras.models.resnet50_torch import resnet50_torch
from ms_keras.models.small_conv import small_conv
from ms_keras.models.weights import load_backbone_weights

# Name, mode of the preprocessing, and a function from the image size to the network.
_OWN: dict[str, tuple[str, Callable[[int], tf.keras.Model]]] = {
    "bn_inception": ("bn_inception", bn_inception),
    "resnet50_torch": ("torch", resnet50_torch),
    "small_conv": ("tf", small_conv),
}
# Where the ImageNet weights are of those that have some.
_IMAGENET = {
    "bn_inception": BN_INCEPTION_WEIGHTS,
    "resnet50_torch": RESNET50_WEIGHTS,
}
_OUTPUT_STRIDE = re.compile(r"(?P<name>.+)_os(?P<stride>\d+)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network that turns images into feature maps.

    Attributes:
        preprocessing: The mode of `Preprocessing` that it expects before it.
        build: From an image size in pixels and weights (`None`, `"imagenet"` or the
            path of a backbone's weights file) to a model from
            `[batch, size, size, 3]` to `[batch, height, width, channels]`.
    """

    preprocessing: str
    build: Callable[[int, str | Path | None], tf.keras.Model]


def backbone_names() -> list[str]:
    """Returns the names of all backbones, sorted (MobileNets without widths)."""
    return sorted([*_OWN, *application_names()])


def find_backbone(name: str) -> Backbone:
    """Looks up a backbone.

    Args:
        name: One of `backbone_names()`; for Keras's applications also as Keras spells
            it, and with a width for MobileNets, `mobilenet_v2_0.35`. A last suffix
            `_os16` makes its maps finer, see `with_output_stride`.

    Raises:
        ValueError: If there is none of that name; the message tells similar names.
    """
    finer = _OUTPUT_STRIDE.fullmatch(name)
    if finer:
        return _finer(find_backbone(finer["name"]), int(finer["stride"]))
    if name in _OWN:
        return _own_backbone(name)
    application = find_application(name)
    if application is None:
        raise ValueError(
            f"Unknown backbone {name!r}; {_suggestion(name)}. A backbone is "
            "'bn_inception', 'resnet50_torch', 'small_conv' or a network of "
            "tf.keras.applications in snake_case; MobileNets take a width as suffix, "
            "'mobilenet_v2_0.35', and each an output stride, 'resnet50_os16'."
        )
    return Backbone(*application)


def _finer(backbone: Backbone, stride: int) -> Backbone:
    def build(image_size: int, weights: str | Path | None) -> tf.keras.Model:
        return with_output_stride(backbone.build(image_size, weights), stride)

    return dataclasses.replace(backbone, build=build)


def _own_backbone(name: str) -> Backbone:
    preprocessing, build_network = _OWN[name]

    def build(image_size: int, weights: str | Path | None) -> tf.keras.Model:
        if weights == "imagenet":
            raise ValueError(_no_download(name))
        network = build_network(image_size)
        if isinstance(weights, Path):
            load_backbone_weights(network, weights, name)
        return network

    return Backbone(preprocessing, build)


def _no_download(name: str) -> str:
    if name in _IMAGENET:
        return (
            f"The ImageNet weights of backbone {name!r} cannot be fetched by "
            f"weights='imagenet'. {_IMAGENET[name]}"
        )
    return (
        f"Backbone {name!r} has no ImageNet weights; got weights='imagenet'. Pass "
        "weights='none' to train from scratch, or a weights file."
    )


def _suggestion(name: str) -> str:
    similar = difflib.get_close_matches(name.lower(), backbone_names(), n=3)
    if not similar:
        return f"there are {', '.join(backbone_names())}"
    return "did you mean " + " or ".join(map(repr, similar)) + "?"
