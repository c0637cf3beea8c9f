r"""Converts torchvision's public weights of ResNet-50 for this package.

    python -m ms_keras.models.convert_resnet50 \
        --checkpoint=resnet50-0676ba61.pth --out=resnet50_torch.weights.h5

The checkpoint is at https://download.pytorch.org/models/. Reading it needs torch; the
file written does not, and serves every supported Keras:

    python -m ms_keras.train --backbone=resnet50_torch \
        --weights=resnet50_torch.weights.h5 ...
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from ms_keras import program
from ms_keras.models import torch_checkpoints
from ms_keras.models.resnet50_torch import CHECKPOINT_URL, resnet50_torch

_CHECKPOINT = torch_checkpoints.Checkpoint(
    network="ResNet-50",
    url=CHECKPOINT_URL,
    top="fc.",
    module_of=lambda layer: layer.replace("_", "."),
)
read_checkpoint = functools.partial(
    torch_checkpoints.read_state_dict, url=CHECKPOINT_URL
)


def main() -> None:
    """Converts the file that the flags name and says where the result is."""
    torch_checkpoints.convert(read_checkpoint, resnet50_torch, fill)


def fill(network: tf.keras.Model, tensors: Mapping[str, np.ndarray]) -> None:
    """Sets the weights of ResNet-50 from the tensors of a checkpoint.

    Args:
        network: What `resnet50_torch` returns.
        tensors: By name, in PyTorch's layout, as in any checkpoint of torchvision's
            ResNet-50. The classification top and counts of batches are ignored.

    Raises:
        ValueError: If a tensor is missing, wrongly shaped, or belongs to no layer; the
            network is then unchanged.
    """
    torch_checkpoints.fill_layers(network, tensors, _CHECKPOINT)


if __name__ == "__main__":
    program.run(main, rooms=[torch_checkpoints])
