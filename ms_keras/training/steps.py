"""Counting the steps of a run, across interruptions."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class StepCounter(tf.keras.callbacks.Callback):
    """Counts training steps and ends `fit` after the last one.

    A round of `fit` is a fixed number of steps; ending it from here lets the last
    round be shorter, and be scored all the same.

    Args:
        first: Steps that were done before, by an interrupted start of the run.
        last: Steps of the whole run.

    Attributes:
        step: Steps done so far.
    """

    def __init__(self, first: int, last: int) -> None:
        super().__init__()
        self.step = first
        self.last = last

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Counts, and asks Keras to stop after the last step."""
        self.step += 1
        if self.step >= self.last:
            self.model.stop_training = True
