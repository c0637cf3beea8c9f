r"""Converts the public PyTorch weights of BN-Inception for this package.

    python -m ms_keras.models.convert_bn_inception \
        --checkpoint=bn_inception-52deb4733.pth --out=bn_inception.weights.h5

The checkpoint is at http://data.lip6.fr/cadene/pretrainedmodels/. Reading it needs
torch; the file written does not, and serves every supported Keras:

    python -m ms_keras.train --backbone=bn_inception --weights=bn_inception.weights.h5 \
        --pooling=max --image_size=227 ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from ms_keras import program
from ms_keras.models.bn_inception import CHECKPOINT_URL, bn_inception
from ms_keras.models.weights import BACKBONE_SUFFIXES, save_backbone_weights

FLAGS = flags.FLAGS

# Other programs have flags of these names: whoever imports several gets any of them.
flags.DEFINE_string(
    "checkpoint",
    "",
    "The PyTorch checkpoint, bn_inception-52deb4733.pth.",
    allow_override=True,
)
flags.DEFINE_string(
    "out",
    "",
    "File to write, such as bn_inception.weights.h5.",
    allow_override=True,
)

# A layer's tensors in the checkpoint, in the order of its weights in Keras.
_CONVOLUTION = ("weight", "bias")
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
# From PyTorch's [out, in, height, width] to Keras's [height, width, in, out].
_TO_KERAS = (2, 3, 1, 0)
_LISTED = 3


def main() -> None:
    """Converts the file that the flags name and says where the result is."""
    for name in ("checkpoint", "out"):
        if not FLAGS[name].value:
            raise ValueError(f"--{name} is missing: {FLAGS[name].help}")
    if not FLAGS.out.endswith(BACKBONE_SUFFIXES):
        raise ValueError(
            f"--out must end in {' or '.join(BACKBONE_SUFFIXES)}; got {FLAGS.out!r}."
        )
    tensors = read_checkpoint(FLAGS.checkpoint)
    network = bn_inception(32)  # the weights are the same for every image size
    fill(network, tensors)
    save_backbone_weights(network, Path(FLAGS.out))
    print(FLAGS.out)


def read_checkpoint(path: str) -> dict[str, np.ndarray]:
    """Reads a PyTorch state dict.

    Args:
        path: A file that `torch.save` wrote.

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
        raise ValueError(
            f"--checkpoint={path}: no such file. Download it from {CHECKPOINT_URL}."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises of every kind over a damaged file
        raise ValueError(
            f"{path} cannot be read as a PyTorch checkpoint; download it again from "
            f"{CHECKPOINT_URL}: {error}"
        ) from error
    if not _is_state_dict(state, torch.Tensor):
        raise ValueError(
            f"{path} must hold a state dict, that is tensors by name; got "
            f"{type(state).__name__}. Save model.state_dict() instead."
        )
    return {name: tensor.detach().float().numpy() for name, tensor in state.items()}


def fill(network: tf.keras.Model, tensors: Mapping[str, np.ndarray]) -> None:
    """Sets the weights of BN-Inception from the tensors of a checkpoint.

    Args:
        network: What `bn_inception` returns.
        tensors: By name, in PyTorch's layout. The classification top and counts of
            batches are ignored. Batch norm's may have the shape `[1, channels]`, as in
            the oldest checkpoints.

    Raises:
        ValueError: If a tensor is missing, wrongly shaped, or belongs to no layer; the
            network is then unchanged.
    """
    tensors = {name: _flat(name, value) for name, value in tensors.items()}
    layers = [layer for layer in network.layers if layer.weights]
    _check(tensors, {name: shape for layer in layers for name, shape in _needs(layer)})
    for layer in layers:
        values = [tensors[name] for name, _ in _needs(layer)]
        layer.set_weights(
            [v.transpose(_TO_KERAS) if v.ndim == 4 else v for v in values]
        )


def _needs(layer: tf.keras.layers.Layer) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yields the name and shape in PyTorch of each of a layer's weights."""
    is_convolution = isinstance(layer, tf.keras.layers.Conv2D)
    names = _CONVOLUTION if is_convolution else _BATCH_NORM
    for name, weight in zip(names, layer.get_weights(), strict=True):
        shape = weight.shape
        if weight.ndim == 4:
            height, width, inputs, outputs = shape
            shape = (outputs, inputs, height, width)
        yield f"{layer.name}.{name}", shape


def _flat(name: str, tensor: np.ndarray) -> np.ndarray:
    """Returns a batch norm's `[1, channels]` as `[channels]`, all else unchanged."""
    of_batch_norm = name.rpartition(".")[0].endswith("_bn")
    return tensor[0] if of_batch_norm and tensor.shape[:-1] == (1,) else tensor


def _check(
    tensors: Mapping[str, np.ndarray], needed: Mapping[str, tuple[int, ...]]
) -> None:
    problems = {
        "missing": [name for name in needed if name not in tensors],
        "unexpected": [
            name for name in tensors if name not in needed and not _is_ignored(name)
        ],
        "wrongly shaped": [
            f"{name} {tensors[name].shape} instead of {shape}"
            for name, shape in needed.items()
            if name in tensors and tensors[name].shape != shape
        ],
    }
    found = "; ".join(f"{kind}: {_listed(names)}" for kind, names in problems.items())
    if any(problems.values()):
        raise ValueError(
            f"The checkpoint does not hold BN-Inception's weights. {found}. The one "
            f"expected is {CHECKPOINT_URL}."
        )


def _is_ignored(name: str) -> bool:
    return name.startswith("last_linear.") or name.endswith(".num_batches_tracked")


def _is_state_dict(state: Any, tensor_type: type) -> bool:
    return isinstance(state, Mapping) and all(
        isinstance(name, str) and isinstance(value, tensor_type)
        for name, value in state.items()
    )


def _listed(names: Iterable[str]) -> str:
    first, rest = list(names)[:_LISTED], list(names)[_LISTED:]
    more = f" and {len(rest)} more" if rest else ""
    return ", ".join(first) + more if first else "none"


if __name__ == "__main__":
    program.run(main)
