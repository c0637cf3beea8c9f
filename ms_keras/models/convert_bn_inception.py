r"""Converts the public PyTorch weights of BN-Inception for this package.

    python -m ms_keras.models.convert_bn_inception \
        --checkpoint=bn_inception-52deb4733.pth --out=bn_inception.weights.h5

The checkpoint is at http://data.lip6.fr/cadene/pretrainedmodels/. Reading it needs
torch; the file written does not, and serves every supported Keras:

    python -m ms_keras.train --backbone=bn_inception --weights=bn_inception.weights.h5 \
        --pooling=max --image_size=227 ...
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from ms_keras import program
from ms_keras.models import torch_checkpoints
from ms_keras.models.bn_inception import CHECKPOINT_URL, bn_inception

_CHECKPOINT = torch_checkpoints.Checkpoint(
    network="BN-Inception",
    url=CHECKPOINT_URL,
    top="last_linear.",
    module_of=lambda layer: layer,
)
read_checkpoint = functools.partial(
    torch_checkpoints.read_state_dict, url=CHECKPOINT_URL
)


def main() -> None:
    """Converts the file that the flags name and says where the result is."""
    torch_checkpoints.convert(read_checkpoint, bn_inception, fill)


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
    torch_checkpoints.fill_layers(network, tensors, _CHECKPOINT)


def _flat(name: str, tensor: np.ndarray) -> np.ndarray:
    """Returns a batch norm's `[1, channels]` as `[channels]`, all else unchanged."""
    of_batch_norm = name.rpartition(".")[0].endswith("_bn")
    return tensor[0] if of_batch_norm and tensor.shape[:-1] == (1,) else tensor


if __name__ == "__main__":
    program.run(main, rooms=[torch_checkpoints])
