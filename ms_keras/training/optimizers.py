"""Optimizers, and which variables weight decay applies to."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class _L2InGradient:
    """Adds the gradient of an L2 penalty: the weight decay of plain Adam and SGD.

    Keras's own `weight_decay` shrinks weights beside the update, AdamW's way, whatever
    the optimizer; the paper's code let Adam see the penalty in the gradient.
    """

    def __init__(
        self, *, l2: float, decay_vectors: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.l2 = l2
        self.decay_vectors = decay_vectors

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, *learning_rate: tf.Tensor
    ) -> None:
        """Updates one variable; Keras 3 hands over the learning rate, Keras 2 not."""
        if self.l2 and (self.decay_vectors or not _is_vector(variable)):
            gradient = gradient + self.l2 * tf.cast(variable, gradient.dtype)
        super().update_step(gradient, variable, *learning_rate)  # type: ignore[misc]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as plain JSON types."""
        config = super().get_config()  # type: ignore[misc]
        return {**config, "l2": self.l2, "decay_vectors": self.decay_vectors}


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class L2Adam(_L2InGradient, tf.keras.optimizers.Adam):
    """Adam with an L2 penalty in the gradient."""


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class L2SGD(_L2InGradient, tf.keras.optimizers.SGD):
    """SGD with an L2 penalty in the gradient."""


def build_optimizer(
    name: str,
    learning_rate: float | tf.keras.optimizers.schedules.LearningRateSchedule,
    tower: tf.keras.Model,
    *,
    weight_decay: float = 0.0,
    decay_vectors: bool = False,
) -> tf.keras.optimizers.Optimizer:
    """Returns an optimizer for a tower.

    Args:
        name: `"adam"` or `"sgd"` (momentum 0.9), whose weight decay is an L2 penalty in
            the gradient, or `"adamw"`, whose weight decay is decoupled.
        learning_rate: A rate or a schedule.
        tower: The model to be trained.
        weight_decay: Strength of the decay. Defaults to `0.0`.
        decay_vectors: Whether biases and the scales and shifts of normalisation decay
            too. Defaults to `False`.

    Raises:
        ValueError: If the name is unknown or the decay negative.
    """
    if not weight_decay >= 0:
        raise ValueError(f"weight_decay must be 0 or more; got {weight_decay}.")
    penalty: dict[str, Any] = {"l2": weight_decay, "decay_vectors": decay_vectors}
    if name == "adam":
        return L2Adam(learning_rate=learning_rate, **penalty)
    if name == "sgd":
        return L2SGD(learning_rate=learning_rate, momentum=0.9, **penalty)
    if name == "adamw":
        optimizer = tf.keras.optimizers.AdamW(
            learning_rate=learning_rate, weight_decay=weight_decay
        )
        if not decay_vectors:
            vectors = [v for v in tower.trainable_variables if _is_vector(v)]
            optimizer.exclude_from_weight_decay(var_list=vectors)
        return optimizer
    raise ValueError(f"optimizer must be 'adam', 'adamw' or 'sgd'; got {name!r}.")


def _is_vector(variable: tf.Variable) -> bool:
    """Tells biases, and scales and shifts of normalisation, from kernels."""
    return len(variable.shape) <= 1
