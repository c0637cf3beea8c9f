"""What the converters of public PyTorch checkpoints share: flags, reading, filling."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from ms_keras.models.weights import BACKBONE_SUFFIXES, save_backbone_weights

FLAGS = flags.FLAGS

# Other programs have flags of these names: whoever imports several gets any of them.
flags.DEFINE_string(
    "checkpoint",
    "",
    "The PyTorch checkpoint to convert, a .pth file.",
    allow_override=True,
)
flags.DEFINE_string(
    "out",
    "",
    "File to write, such as backbone.weights.h5.",
    allow_override=True,
)

# From PyTorch's [out, in, height, width] to Keras's [height, width, in, out].
_TO_KERAS = (2, 3, 1, 0)
_LISTED = 3


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A public checkpoint, and how its tensors are named.

    Attributes:
        network: The network's name in messages.
        url: Where the file is.
        top: How the names of the classification top's tensors begin.
        module_of: From the name of a layer in Keras to its module's in PyTorch.
    """

    network: str
    url: str
    top: str
    module_of: Callable[[str], str]


def convert(
    read: Callable[[str], dict[str, np.ndarray]],
    build: Callable[[int], tf.keras.Model],
    fill: Callable[[tf.keras.Model, dict[str, np.ndarray]], None],
) -> None:
    """Converts the file that the flags name and says where the result is.

    Args:
        read: From the path of a checkpoint to its tensors by name.
        build: From an image size to the network.
        fill: Sets the network's weights from the tensors.

    Raises:
        ValueError: If a flag is missing or wrong, or the checkpoint does not fit.
    """
    for name in ("checkpoint", "out"):
        if not FLAGS[name].value:
            raise ValueError(f"--{name} is missing: {FLAGS[name].help}")
    if not FLAGS.out.endswith(BACKBONE_SUFFIXES):
        raise ValueError(
            f"--out must end in {' or '.join(BACKBONE_SUFFIXES)}; got {FLAGS.out!r}."
        )
    tensors = read(FLAGS.checkpoint)
    network = build(32)  # the weights are the same for every image size
    fill(network, tensors)
    save_backbone_weights(network, Path(FLAGS.out))
    print(FLAGS.out)


def read_state_dict(path: str, url: str) -> dict[str, np.ndarray]:
    """Reads a PyTorch state dict.

    Args:
        path: A file that `torch.save` wrote.
        url: Where to download the file, for messages.

    Returns:
        Every tensor of it by name, as float32.

    Raises:
        ValueError: If torch is not installed, or the file is missing, damaged or no
            state dict.
    """
    try:
        import torch
    except ImportError as error:
        raise ValueError(
            "Reading a PyTorch checkpoint needs torch, which is not installed here. "
            "`pip install torch`, in any environment that has this package; the "
            "converted file serves all of them."
        ) from error
    if not Path(path).is_file():
        raise ValueError(f"--checkpoint={path}: no such file. Download it from {url}.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises of every kind over a damaged file
        raise ValueError(
            f"{path} cannot be read as a PyTorch checkpoint; download it again from "
            f"{url}: {error}"
        ) from error
    if not _is_state_dict(state, torch.Tensor):
        raise ValueError(
            f"{path} must hold a state dict, that is tensors by name; got "
            f"{type(state).__name__}. Save model.state_dict() instead."
        )
    return {name: tensor.detach().float().numpy() for name, tensor in state.items()}


def fill_layers(
    network: tf.keras.Model, tensors: Mapping[str, np.ndarray], checkpoint: Checkpoint
) -> None:
    """Sets the weights of convolutions and batch norm from a checkpoint's tensors.

    Args:
        network: The network, of any image size.
        tensors: By name, in PyTorch's layout. The classification top and counts of
            batches are ignored.
        checkpoint: How the tensors are named.

    Raises:
        ValueError: If a tensor is missing, wrongly shaped, or belongs to no layer; the
            network is then unchanged.
    """
    needed = {
        layer.name: dict(_needs(layer, checkpoint.module_of(layer.name)))
        for layer in network.layers
        if layer.weights
    }
    shapes = {name: shape for part in needed.values() for name, shape in part.items()}
    _check(tensors, shapes, checkpoint)
    for layer_name, names in needed.items():
        values = [tensors[name] for name in names]
        network.get_layer(layer_name).set_weights(
            [v.transpose(_TO_KERAS) if v.ndim == 4 else v for v in values]
        )


def _needs(
    layer: tf.keras.layers.Layer, module: str
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yields the name and shape in PyTorch of each of a layer's weights, in order."""
    names = ["weight", "bias", "running_mean", "running_var"]  # of batch norm
    if isinstance(layer, tf.keras.layers.Conv2D):
        names = ["weight", "bias"] if layer.use_bias else ["weight"]
    for name, weight in zip(names, layer.get_weights(), strict=True):
        shape = weight.shape
        if weight.ndim == 4:
            height, width, inputs, outputs = shape
            shape = (outputs, inputs, height, width)
        yield f"{module}.{name}", shape


def _check(
    tensors: Mapping[str, np.ndarray],
    needed: Mapping[str, tuple[int, ...]],
    checkpoint: Checkpoint,
) -> None:
    ignored = {
        name
        for name in tensors
        if name.startswith(checkpoint.top) or name.endswith(".num_batches_tracked")
    }
    problems = {
        "missing": [name for name in needed if name not in tensors],
        "unexpected": [name for name in tensors if name not in {*needed, *ignored}],
        "wrongly shaped": [
            f"{name} {tensors[name].shape} instead of {shape}"
            for name, shape in needed.items()
            if name in tensors and tensors[name].shape != shape
        ],
    }
    found = "; ".join(f"{kind}: {_listed(names)}" for kind, names in problems.items())
    if any(problems.values()):
        raise ValueError(
            f"The checkpoint does not hold {checkpoint.network}'s weights. {found}. "
            f"The one expected is {checkpoint.url}."
        )


def _is_state_dict(state: Any, tensor_type: type) -> bool:
    return isinstance(state, Mapping) and all(
        isinstance(name, str) and isinstance(value, tensor_type)
        for name, value in state.items()
    )


def _listed(names: Iterable[str]) -> str:
    first, rest = list(names)[:_LISTED], list(names)[_LISTED:]
    more = f" and {len(rest)} more" if rest else ""
    return ", ".join(first) + more if first else "none"
