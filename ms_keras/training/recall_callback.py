"""A Keras callback that scores retrieval while training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf


class RecallCallback(tf.keras.callbacks.Callback):
    """Adds Recall@K of held-out classes to the logs at the end of each epoch.

    Stand it before callbacks that read the logs, such as `ModelCheckpoint`, and give
    those `mode="max"`: Keras would otherwise minimise a name it does not know.

    Args:
        score: Gives `{k: recall}` of a model.
        prefix: What comes before `recall_at_{k}` in the logs. Defaults to `"val_"`.

    Example:
    ```python
    def score(model):
        return ms_keras.recall_at_k(model.predict(test_images, verbose=0), test_ids)

    model.fit(
        train, epochs=10, callbacks=[
            RecallCallback(score),
            tf.keras.callbacks.ModelCheckpoint(
                "best.keras", monitor="val_recall_at_1", mode="max", save_best_only=True
            ),
        ],
    )
    ```
    """

    def __init__(
        self,
        score: Callable[[tf.keras.Model], Mapping[int, float]],
        prefix: str = "val_",
    ) -> None:
        super().__init__()
        self._score = score
        self._prefix = prefix

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Scores the model and puts the result into `logs`."""
        if logs is None:
            return
        for k, recall in self._score(self.model).items():
            logs[f"{self._prefix}recall_at_{k}"] = recall
