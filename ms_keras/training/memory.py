"""A queue of the embeddings of earlier batches, which checkpoints keep."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from ms_keras.losses import replicas
from ms_keras.losses.pairs import Memory, checked
from ms_keras.variables import plain_variable

# Keras 2, which has no `ops`, takes TensorFlow's enumeration.
_SAME_ON_ALL = (
    "only_first_replica"
    if hasattr(tf.keras, "ops")
    else tf.VariableAggregation.ONLY_FIRST_REPLICA
)


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class CrossBatchMemory(tf.keras.layers.Layer):
    """Remembers the unit rows and labels of the last batches, of all replicas.

    Rows go in in order, and the oldest go out. All replicas hold the same. It is a
    layer for its state's sake and computes nothing from inputs.

    Args:
        size: How many rows it holds.
        dim: Length of a row.
        warmup_steps: Batches after which its rows take part; before, they are merely
            remembered. Defaults to `0`.
        name: Name of the layer. Defaults to `"memory"`.

    Raises:
        ValueError: If a size is not positive, or `warmup_steps` negative.
    """

    def __init__(
        self, size: int, dim: int, warmup_steps: int = 0, name: str = "memory"
    ) -> None:
        for what, value, least in (
            ("size", size, 1),
            ("dim", dim, 1),
            ("warmup_steps", warmup_steps, 0),
        ):
            if not isinstance(value, int) or value < least:
                raise ValueError(
                    f"{what} must be a whole number, {least} or more; got {value!r}."
                )
        super().__init__(trainable=False, dtype="float32", name=name)
        self.size = size
        self.dim = dim
        self.warmup_steps = warmup_steps
        self._rows = self._state("rows", [size, dim], "float32")
        self._labels = self._state("labels", [size], "int64")
        self._rows_seen = self._state("rows_seen", [], "int64")
        self._steps_seen = self._state("steps_seen", [], "int64")
        self._learners = 0
        self.built = True

    def _state(self, name: str, shape: list[int], dtype: str) -> tf.Variable:
        return self.add_weight(
            name=name,
            shape=shape,
            dtype=dtype,
            initializer="zeros",
            trainable=False,
            aggregation=_SAME_ON_ALL,
        )

    @property
    def is_learning(self) -> bool:
        """Whether a training step is under way, and not a scoring."""
        return self._learners > 0

    @contextlib.contextmanager
    def learning(self) -> Iterator[None]:
        """Marks a training step; replicas trace theirs in turns, hence the count."""
        self._learners += 1
        try:
            yield
        finally:
            self._learners -= 1

    def contents(self) -> Memory:
        """Returns what is remembered."""
        used = tf.range(self.size, dtype=tf.int64) < tf.convert_to_tensor(
            self._rows_seen
        )
        warm = tf.convert_to_tensor(self._steps_seen) >= self.warmup_steps
        return Memory(
            rows=tf.convert_to_tensor(self._rows),
            labels=tf.convert_to_tensor(self._labels),
            filled=used & warm,
        )

    def remember(self, labels: tf.Tensor, embeddings: tf.Tensor) -> None:
        """Puts a batch in, and the oldest rows out.

        Args:
            labels: `[batch]` or `[batch, 1]` integer class ids.
            embeddings: `[batch, dim]` floats, normalised inside.

        Raises:
            ValueError: As the losses.
        """
        labels, units = checked(labels, embeddings)
        labels = replicas.gather(labels)
        units = replicas.gather(tf.cast(tf.stop_gradient(units), tf.float32))
        batch = tf.shape(labels)[0]
        fitting = tf.minimum(batch, self.size)
        seen = tf.convert_to_tensor(self._rows_seen) + tf.cast(batch, tf.int64)
        places = (seen - tf.range(fitting, 0, -1, dtype=tf.int64)) % self.size
        _write(self._rows, places, units[batch - fitting :])
        _write(self._labels, places, labels[batch - fitting :])
        self._rows_seen.assign(seen)
        self._steps_seen.assign(tf.convert_to_tensor(self._steps_seen) + 1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as plain JSON types."""
        return {
            "size": self.size,
            "dim": self.dim,
            "warmup_steps": self.warmup_steps,
            "name": self.name,
        }


def _write(variable: tf.Variable, places: tf.Tensor, values: tf.Tensor) -> None:
    """Writes some rows alone: only they travel between replicas."""
    plain_variable(variable).scatter_update(tf.IndexedSlices(values, places))
