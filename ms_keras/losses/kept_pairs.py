"""A Keras metric that tells how many pairs the mining keeps."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from ms_keras.losses import engine
from ms_keras.losses.pair_loss import PairLoss


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class KeptPairs(tf.keras.metrics.Metric):
    """Mean number of kept positive and negative pairs per anchor.

    Args:
        loss: The loss whose mining is watched.
        name: Name of the metric. Defaults to `"kept_pairs"`.

    Its result is a dictionary of two floats, `kept_positives` and `kept_negatives`,
    which Keras shows and logs under these names. Few kept pairs late in training mean
    that most batches teach nothing more: enlarge the batch or stop.

    Example:
    ```python
    loss = ms_keras.MultiSimilarityLoss()
    model.compile("adam", loss=loss, metrics=[ms_keras.KeptPairs(loss)])
    ```
    """

    def __init__(self, loss: PairLoss, name: str = "kept_pairs") -> None:
        super().__init__(name=name, dtype="float32")
        self.loss = loss
        self._positives = self.add_weight(name="positives", initializer="zeros")
        self._negatives = self.add_weight(name="negatives", initializer="zeros")
        self._anchors = self.add_weight(name="anchors", initializer="zeros")

    def update_state(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: tf.Tensor | None = None,
    ) -> None:
        """Counts the kept pairs of a batch; anchors of weight 0 are left out."""
        positives, negatives = engine.kept_pairs(self.loss.recipe, y_true, y_pred)
        counted = tf.ones_like(positives)
        if sample_weight is not None:
            counted = tf.reshape(tf.cast(sample_weight, tf.float32), [-1])
            counted = tf.cast(counted != 0, tf.float32)
        self._positives.assign_add(tf.reduce_sum(positives * counted))
        self._negatives.assign_add(tf.reduce_sum(negatives * counted))
        self._anchors.assign_add(tf.reduce_sum(counted))

    def result(self) -> dict[str, tf.Tensor]:
        """Returns the means over all anchors seen since the last reset."""
        anchors = tf.maximum(tf.convert_to_tensor(self._anchors), 1.0)
        return {
            "kept_positives": self._positives / anchors,
            "kept_negatives": self._negatives / anchors,
        }

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as plain JSON types."""
        loss = tf.keras.utils.serialize_keras_object(self.loss)
        return {"name": self.name, "loss": loss}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> KeptPairs:
        """Rebuilds the metric, and its loss, from `get_config`."""
        loss = tf.keras.utils.deserialize_keras_object(config["loss"])
        return cls(loss=loss, name=config["name"])
