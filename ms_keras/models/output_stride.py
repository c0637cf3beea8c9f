"""Backbones whose last maps are finer: strides of the upper layers become 1."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

_MOVING = (
    tf.keras.layers.Conv2D,
    tf.keras.layers.DepthwiseConv2D,
    tf.keras.layers.SeparableConv2D,
    tf.keras.layers.AveragePooling2D,
    tf.keras.layers.MaxPooling2D,
)


def with_output_stride(network: tf.keras.Model, stride: int) -> tf.keras.Model:
    """Rebuilds a network so that its maps have at least a cell per `stride` pixels.

    Layers that would make cells larger than that move by one cell instead of two. The
    weights stay as they are and fit, as kernels keep their size: what lies above sees
    the image enlarged. It is the "last stride" of re-identification (Luo et al., "Bag
    of Tricks and a Strong Baseline for Deep Person Re-identification", CVPRW 2019), and
    not DeepLab's dilation, which would keep the size at which the upper layers see it.

    Args:
        network: A functional model from images `[batch, size, size, channels]`.
        stride: Pixels of the image per cell of the last maps, one of those that the
            network passes on its way to its own: 1, 2, 4, 8, 16 or 32 for most.

    Returns:
        Another network with the same weights in layers of the same names.

    Raises:
        ValueError: If the network has no such cells, is made of networks (ConvNeXt),
            or does not go together any more, as its branches shrink their maps in
            different ways (NASNet).
    """
    cells = _cells(network)
    reached = sorted({1, *cells.values()})
    if stride not in reached:
        raise ValueError(
            f"The output stride of backbone {network.name!r} is one of "
            f"{', '.join(map(str, reached))}, the last its own; got {stride}."
        )

    def rebuilt(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        changes = _changes(layer, cells[layer.name], stride)
        return type(layer).from_config({**layer.get_config(), **changes})

    try:
        finer = tf.keras.models.clone_model(network, clone_function=rebuilt)
    except ValueError as error:
        raise ValueError(
            f"Backbone {network.name!r} cannot have an output stride of {stride}: its "
            f"branches do not fit each other without their strides. {error}"
        ) from error
    finer.set_weights(network.get_weights())
    return finer


def _cells(network: tf.keras.Model) -> dict[str, int]:
    """Returns how many pixels wide a cell of each layer's output is, by its name."""
    of_layer: dict[str, int] = {}
    of_tensor: dict[int, int] = {}
    # Keras 3 does not count a sum or a product of maps among the layers.
    for layer in getattr(network, "operations", network.layers):
        if isinstance(layer, tf.keras.Model):
            raise ValueError(
                f"Backbone {network.name!r} cannot have an output stride: its layer "
                f"{layer.name!r} is a network of its own."
            )
        inputs = tf.nest.flatten(layer.input)
        cell = max((of_tensor.get(id(tensor), 1) for tensor in inputs), default=1)
        if isinstance(layer, _MOVING):
            cell *= layer.strides[0]
        of_layer[layer.name] = of_tensor[id(layer.output)] = cell
    return of_layer


def _changes(layer: tf.keras.layers.Layer, cell: int, stride: int) -> dict[str, Any]:
    """Returns what changes in a layer's configuration."""
    if isinstance(layer, _MOVING) and cell > stride:
        return {"strides": (1, 1)}
    if isinstance(layer, tf.keras.layers.ZeroPadding2D) and cell >= stride:
        # Even maps are padded unevenly before a stride of 2.
        return {"padding": [(max(sides), max(sides)) for sides in layer.padding]}
    return {}
