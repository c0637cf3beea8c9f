"""A Keras metric that tells what a loss does to the pairs of a batch."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from ms_keras.losses import engine
from ms_keras.losses.pair_loss import PairLoss
from ms_keras.losses.summary import PairSummary


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class PairStatistics(tf.keras.metrics.Metric):
    """Pairs kept, weights and similarities: means since the last reset.

    Its result is a dictionary of floats, which Keras shows and logs by these names:

    | name | mean |
    |---|---|
    | `kept_positives`, `kept_negatives` | per anchor, pairs whose weight is not 0 |
    | `idle_anchors` | share of anchors that keep no pair at all |
    | `positive_weight`, `negative_weight` | absolute weight of a kept pair |
    | `positive_similarity`, `negative_similarity` | cosine similarity of all pairs |

    Few kept pairs and many idle anchors late in training mean that most batches teach
    nothing more: enlarge the batch or stop.

    Args:
        loss: The loss whose pairs are watched.
        name: Name of the metric. Defaults to `"pair_statistics"`.

    Example:
    ```python
    loss = ms_keras.MultiSimilarityLoss()
    model.compile("adam", loss=loss, metrics=[ms_keras.PairStatistics(loss)])
    ```
    """

    def __init__(self, loss: PairLoss, name: str = "pair_statistics") -> None:
        super().__init__(name=name, dtype="float32")
        self.loss = loss
        # One variable of all sums: a replica's update is one addition.
        names = (*PairSummary._fields, "idle", "anchors")
        self._sums = self.add_weight(
            name="sums", shape=(len(names),), initializer="zeros"
        )

    def update_state(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: tf.Tensor | None = None,
    ) -> None:
        """Sums up a batch's pairs; anchors of weight 0 are left out."""
        summary = engine.pair_summary(
            self.loss.recipe, y_true, y_pred, block_size=self.loss.block_size
        )
        counted = tf.ones_like(summary.positives)
        if sample_weight is not None:
            counted = tf.reshape(tf.cast(sample_weight, counted.dtype), [-1])
            counted = tf.cast(counted != 0, counted.dtype)
        idle = tf.cast(
            summary.kept_positives + summary.kept_negatives == 0, counted.dtype
        )
        rows = tf.stack([*summary, idle, tf.ones_like(idle)])
        sums = tf.linalg.matvec(rows, counted)
        self._sums.assign_add(tf.cast(sums, tf.float32))

    def result(self) -> dict[str, tf.Tensor]:
        """Returns the means; 0 where there was nothing to take a mean of."""
        *summary, idle, anchors = tf.unstack(tf.convert_to_tensor(self._sums))
        sums = PairSummary(*summary)
        mean = tf.math.divide_no_nan
        return {
            "kept_positives": mean(sums.kept_positives, anchors),
            "kept_negatives": mean(sums.kept_negatives, anchors),
            "idle_anchors": mean(idle, anchors),
            "positive_weight": mean(sums.pull, sums.kept_positives),
            "negative_weight": mean(sums.push, sums.kept_negatives),
            "positive_similarity": mean(sums.positive_similarity, sums.positives),
            "negative_similarity": mean(sums.negative_similarity, sums.negatives),
        }

    def reset_state(self) -> None:
        """Forgets all batches. Keras 2 would assign a scalar to the sums."""
        self._sums.assign(tf.zeros_like(self._sums))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as plain JSON types."""
        loss = tf.keras.utils.serialize_keras_object(self.loss)
        return {"name": self.name, "loss": loss}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PairStatistics:
        """Rebuilds the metric, and its loss, from `get_config`."""
        loss = tf.keras.utils.deserialize_keras_object(config["loss"])
        return cls(loss=loss, name=config["name"])
