"""Optimizers: which variables weight decay applies to, and which learn faster."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

HEAD = "embedding"  # the tower's last layer with weights


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


class _HeadRate:
    """Multiplies the updates of a tower's new last layer.

    That layer is new, and the backbone comes with trained weights. Updates are
    multiplied and not gradients, whose scale Adam would take out again.
    """

    def __init__(self, *, head_rate: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.head_rate = head_rate

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, *learning_rate: tf.Tensor
    ) -> None:
        """Updates one variable, and that of the last layer by more or less."""
        update = super().update_step  # type: ignore[misc]
        if self.head_rate == 1.0 or HEAD not in self._path(variable).split("/"):
            return update(gradient, variable, *learning_rate)
        before = tf.identity(variable)
        update(gradient, variable, *learning_rate)
        changed = tf.convert_to_tensor(variable) - before
        variable.assign(before + tf.cast(self.head_rate, before.dtype) * changed)
        return None

    def _path(self, variable: tf.Variable) -> str:
        """Returns a variable's name with that of its layer."""
        if hasattr(self, "_get_variable_index"):  # Keras 3 hands over the bare variable
            index = self._get_variable_index(variable)
            return self._trainable_variables[index].path  # type: ignore[attr-defined]
        return variable.name

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as plain JSON types."""
        return {**super().get_config(), "head_rate": self.head_rate}  # type: ignore[misc]


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class L2Adam(_HeadRate, _L2InGradient, tf.keras.optimizers.Adam):
    """Adam with an L2 penalty in the gradient."""


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class L2SGD(_HeadRate, _L2InGradient, tf.keras.optimizers.SGD):
    """SGD with an L2 penalty in the gradient."""


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class AdamW(_HeadRate, tf.keras.optimizers.AdamW):
    """Adam with weight decay beside the update."""


def build_optimizer(
    name: str,
    learning_rate: float | tf.keras.optimizers.schedules.LearningRateSchedule,
    tower: tf.keras.Model,
    *,
    weight_decay: float = 0.0,
    decay_vectors: bool = False,
    head_rate: float = 1.0,
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
        head_rate: Factor on the learning rate of the tower's last layer, `embedding`.
            Defaults to `1.0`.

    Raises:
        ValueError: If the name is unknown, the decay negative, or the factor not above
            0.
    """
    if not 0 < head_rate < float("inf"):
        raise ValueError(f"head_rate must be above 0 and finite; got {head_rate}.")
    if not weight_decay >= 0:
        raise ValueError(f"weight_decay must be 0 or more; got {weight_decay}.")
    penalty: dict[str, Any] = {"l2": weight_decay, "decay_vectors": decay_vectors}
    rates: dict[str, Any] = {"learning_rate": learning_rate, "head_rate": head_rate}
    if name == "adam":
        return L2Adam(**rates, **penalty)
    if name == "sgd":
        return L2SGD(momentum=0.9, **rates, **penalty)
    if name == "adamw":
        optimizer = AdamW(weight_decay=weight_decay, **rates)
        if not decay_vectors:
            vectors = [v for v in tower.trainable_variables if _is_vector(v)]
            optimizer.exclude_from_weight_decay(var_list=vectors)
        return optimizer
    raise ValueError(f"optimizer must be 'adam', 'adamw' or 'sgd'; got {name!r}.")


def _is_vector(variable: tf.Variable) -> bool:
    """Tells biases, and scales and shifts of normalisation, from kernels."""
    return len(variable.shape) <= 1
