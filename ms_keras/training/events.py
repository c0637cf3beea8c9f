"""TensorBoard scalars over the steps of a run, and pictures of it."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import tensorflow as tf

from ms_keras.training.steps import StepCounter

_WIDTH = 1600  # pixels of a picture: TensorBoard shows hardly more


class Events(tf.keras.callbacks.Callback):
    """Writes the logs as TensorBoard scalars, with the run's step as abscissa.

    Keras's own callback counts epochs, begins anew when a run goes on, and leaves an
    epoch's scores out unless it ends at a multiple of the writing frequency.

    Args:
        directory: Where the event files go.
        counter: The run's step counter; stands before this callback in the list.
        every: Steps between two writings; the end of a round is always written.
            Defaults to `50`.
    """

    def __init__(
        self, directory: str | os.PathLike[str], counter: StepCounter, every: int = 50
    ) -> None:
        super().__init__()
        self._directory = os.fspath(directory)
        self._counter = counter
        self._every = every
        self._writer: tf.summary.SummaryWriter | None = None

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Writes the means over the round so far, now and then."""
        if self._counter.step % self._every == 0:
            self._write("train", logs or {})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes a round's results, the scores of other callbacks among them."""
        rate = tf.convert_to_tensor(self.model.optimizer.learning_rate)
        self._write("round", {**(logs or {}), "learning_rate": rate})

    def _write(self, group: str, logs: dict[str, Any]) -> None:
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self._directory)
        with self._writer.as_default(step=self._counter.step):
            for name, value in logs.items():
                tf.summary.scalar(f"{group}/{name}", float(value))
        self._writer.flush()


def write_picture(
    directory: str | os.PathLike[str],
    path: str | os.PathLike[str],
    step: int,
    name: str = "retrievals",
) -> None:
    """Adds a picture to TensorBoard's images.

    It begins an event file of its own, and TensorBoard may not return to the ones
    before: this is for after the last scalar.

    Args:
        directory: The run's `events` folder; made if missing.
        path: A PNG file. If wider than 1,600 pixels, it is shown at that width.
        step: The run's step that the picture is of.
        name: What TensorBoard calls it. Defaults to `"retrievals"`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read as one.
    """
    pixels = _read_png(pathlib.Path(path))
    writer = tf.summary.create_file_writer(os.fspath(directory))
    with writer.as_default(step=step):
        tf.summary.image(name, pixels[tf.newaxis])
    writer.close()


def _read_png(path: pathlib.Path) -> tf.Tensor:
    """Returns `[height, width, 3]` uint8, 1,600 wide at most."""
    try:
        pixels = tf.io.decode_png(path.read_bytes(), channels=3)
    except tf.errors.InvalidArgumentError:
        raise ValueError(
            f"path must be a PNG file; {path} cannot be read as one."
        ) from None
    height, width, _ = pixels.shape
    if width <= _WIDTH:
        return pixels
    size = [max(1, round(height * _WIDTH / width)), _WIDTH]
    smaller = tf.image.resize(pixels, size, antialias=True)
    return tf.saturate_cast(tf.round(smaller), tf.uint8)
