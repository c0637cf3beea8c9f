"""The progress line of a run."""

from __future__ import annotations

import sys
import time
from typing import Any

import tensorflow as tf
import tqdm

from ms_keras.training.steps import StepCounter

SHOWN = {
    "loss": "loss",
    "kept_positives": "kept+",
    "kept_negatives": "kept-",
    "idle_anchors": "idle",
    "positive_weight": "w+",
    "negative_weight": "w-",
    "positive_similarity": "S+",
    "negative_similarity": "S-",
    "images_per_second": "images/s",
    "val_recall_at_1": "R@1",
}


class Progress(tf.keras.callbacks.Callback):
    """Shows how training goes: the loss, what it does to pairs, images/s, Recall@1.

    kept+ and kept- are pairs kept per anchor, idle the share of anchors that keep none,
    w the mean weight of kept pairs, S the mean similarity of all pairs.

    On a terminal it is one line that renews itself; elsewhere (a log file) a line
    every 10 seconds. Each scoring leaves a line of its own.

    Args:
        counter: The run's step counter; stands before this callback in the list.
        batch_size: Images per step, all replicas together.
    """

    def __init__(self, counter: StepCounter, batch_size: int) -> None:
        super().__init__()
        self._counter = counter
        self._batch_size = batch_size
        self._seconds: list[float] = []  # of this round's steps
        self._started = 0.0
        self._bar: tqdm.tqdm | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Opens the bar where the run stands."""
        self._bar = tqdm.tqdm(
            initial=self._counter.step,
            total=self._counter.last,
            desc="train",
            unit="step",
            mininterval=0.5 if sys.stderr.isatty() else 10,
            bar_format="{desc} {n_fmt}/{total_fmt} [{elapsed}<{remaining}]{postfix}",
        )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Forgets the speed of the round before."""
        self._seconds = []
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Moves the bar on by a step."""
        now = time.perf_counter()
        self._seconds.append(now - self._started)
        self._started = now
        if self._bar is not None:
            self._bar.set_postfix_str(self._text(dict(logs or {})), refresh=False)
            self._bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Leaves a line, with the scores that other callbacks put in the logs."""
        logs = logs if logs is not None else {}
        logs["images_per_second"] = self._images_per_second()
        line = f"step {self._counter.step}/{self._counter.last}: {self._text(logs)}"
        tqdm.tqdm.write(line, file=sys.stderr)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes the bar."""
        self.close()

    def close(self) -> None:
        """Closes the bar, also when training was interrupted."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _images_per_second(self) -> float:
        """Returns the speed over the round, without its first step, which compiles."""
        seconds = self._seconds[1:] or self._seconds
        return self._batch_size * len(seconds) / max(sum(seconds), 1e-9)

    def _text(self, logs: dict[str, Any]) -> str:
        logs = {"images_per_second": self._images_per_second(), **logs}
        return ", ".join(
            f"{name} {float(logs[key]):.4g}"
            for key, name in SHOWN.items()
            if key in logs
        )
