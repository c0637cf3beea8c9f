"""A backbone whose batch norm may be frozen, its statistics or all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

FREEZES = ("statistics", "all", "none")


def freeze_of(value: str | bool) -> str:
    """Returns which of `FREEZES` is meant.

    Args:
        value: Its name; or, as earlier files have it, whether statistics are frozen.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(value, bool):
        return "statistics" if value else "none"
    if value not in FREEZES:
        raise ValueError(
            f"freeze_batch_norm must be one of {', '.join(FREEZES)}; got {value!r}."
        )
    return value


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class BackboneLayer(tf.keras.layers.Wrapper):
    """Runs a network, in inference mode if its batch norm is frozen.

    Inference mode freezes the running statistics and normalises by them; gamma and
    beta still train, unless all is frozen. Dropout and stochastic depth are off then as
    well. A network without batch norm runs as usual.

    A layer, because Keras 3 forgets `network(images, training=False)` of a functional
    model: in `fit` its own `training=True` wins.

    Args:
        layer: The network.
        freeze_batch_norm: What of batch norm is frozen: `"statistics"`, `"all"` (gamma
            and beta too) or `"none"`; `True` and `False` stand for the first and the
            last.

    Call arguments:
        images: What the network takes.
        training: Whether the call is part of training.
    """

    def __init__(
        self, layer: tf.keras.Model, freeze_batch_norm: str | bool, **kwargs: Any
    ) -> None:
        super().__init__(layer, **kwargs)
        self.freeze_batch_norm = freeze_of(freeze_batch_norm)
        norms = _batch_norms(layer)
        self._inference_only = self.freeze_batch_norm != "none" and bool(norms)
        if self.freeze_batch_norm == "all":
            for norm in norms:
                norm.trainable = False

    def call(self, images: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns the network's output."""
        return self.layer(images, training=False if self._inference_only else training)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the network's output."""
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as plain JSON types."""
        return {**super().get_config(), "freeze_batch_norm": self.freeze_batch_norm}


def _batch_norms(network: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    kind = tf.keras.layers.BatchNormalization
    return [layer for layer in _layers(network) if isinstance(layer, kind)]


def _layers(layer: tf.keras.layers.Layer) -> Iterator[tf.keras.layers.Layer]:
    yield layer
    for inner in getattr(layer, "layers", ()):
        yield from _layers(inner)
