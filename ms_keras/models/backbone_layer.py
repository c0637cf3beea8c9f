"""A backbone whose batch-norm statistics may be frozen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class BackboneLayer(tf.keras.layers.Wrapper):
    """Runs a network, in inference mode if its batch norm is frozen.

    Inference mode freezes the running statistics and normalises by them; gamma and
    beta still train. Dropout and stochastic depth are off then as well. A network
    without batch norm runs as usual.

    A layer, because Keras 3 forgets `network(images, training=False)` of a functional
    model: in `fit` its own `training=True` wins.

    Args:
        layer: The network.
        freeze_batch_norm: Whether batch norm is frozen.

    Call arguments:
        images: What the network takes.
        training: Whether the call is part of training.
    """

    def __init__(
        self, layer: tf.keras.Model, freeze_batch_norm: bool, **kwargs: Any
    ) -> None:
        super().__init__(layer, **kwargs)
        self.freeze_batch_norm = freeze_batch_norm
        self._inference_only = freeze_batch_norm and _has_batch_norm(layer)

    def call(self, images: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns the network's output."""
        return self.layer(images, training=False if self._inference_only else training)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the network's output."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as plain JSON types."""
        return {**super().get_config(), "freeze_batch_norm": self.freeze_batch_norm}


def _has_batch_norm(network: tf.keras.Model) -> bool:
    kind = tf.keras.layers.BatchNormalization
    return any(isinstance(layer, kind) for layer in _layers(network))


def _layers(layer: tf.keras.layers.Layer) -> Iterator[tf.keras.layers.Layer]:
    yield layer
    for inner in getattr(layer, "layers", ()):
        yield from _layers(inner)
