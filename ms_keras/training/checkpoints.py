"""Best and last checkpoints of a run, and going on from them."""

from __future__ import annotations

import pathlib
from typing import Any

import tensorflow as tf

from ms_keras.training.memory_model import MemoryModel, tower_of
from ms_keras.training.steps import StepCounter

MONITOR = "val_recall_at_1"


class Checkpoints(tf.keras.callbacks.Callback):
    """Keeps the last and the best state of a run: weights, optimizer, memory, step.

    A checkpoint counts from the moment its index file is replaced, which is the last
    thing written, so that a run killed half-way keeps the one before.

    Args:
        directory: Where `best/` and `last/` go.
        learner: The compiled model, a tower or a `MemoryModel`; the weights that are
            kept are those of the tower in any case.
        counter: The run's step counter, set to the restored step by `restore_last`.
    """

    def __init__(
        self, directory: pathlib.Path, learner: tf.keras.Model, counter: StepCounter
    ) -> None:
        super().__init__()
        self._counter = counter
        self._step = tf.Variable(0, dtype=tf.int64)
        self._best = tf.Variable(-1.0, dtype=tf.float64)
        self._best_step = tf.Variable(0, dtype=tf.int64)
        has_memory = isinstance(learner, MemoryModel)
        checkpoint = tf.train.Checkpoint(
            model=tower_of(learner),
            optimizer=learner.optimizer,
            **({"memory": learner.memory} if has_memory else {}),
            step=self._step,
            best=self._best,
            best_step=self._best_step,
        )
        self._last_manager, self._best_manager = (
            tf.train.CheckpointManager(checkpoint, str(directory / which), 1)
            for which in ("last", "best")
        )

    @property
    def best(self) -> tuple[float, int]:
        """The best Recall@1 so far and its step."""
        return float(self._best), int(self._best_step)

    @property
    def any(self) -> bool:
        """Whether the run ever saved a checkpoint."""
        return self._last_manager.latest_checkpoint is not None

    def restore_last(self) -> bool:
        """Goes back to where the run stopped, if it ever saved a checkpoint."""
        path = self._last_manager.latest_checkpoint
        if path is None:
            return False
        status = self._last_manager.checkpoint.restore(path)
        status.assert_existing_objects_matched()
        status.expect_partial()  # optimizer state is made, and restored, on first use
        self._counter.step = int(self._step)
        return True

    def save_last(self) -> None:
        """Saves the present state, between two steps."""
        self._step.assign(self._counter.step)
        self._last_manager.save(checkpoint_number=self._counter.step)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Saves the best state, if this is it, and then the last."""
        score = (logs or {}).get(MONITOR)
        if score is not None and score > float(self._best):
            self._best.assign(score)
            self._best_step.assign(self._counter.step)
            self._step.assign(self._counter.step)
            self._best_manager.save(checkpoint_number=self._counter.step)
        self.save_last()
