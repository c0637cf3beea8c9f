"""Training speed beside plain Keras cross-entropy on the same tower and images.

Also beside the same training without the statistics of pairs, to tell their cost.

    python -m benchmarks.step
    python -m benchmarks.step --pipeline --flagfile=configs/cub200_mobilenet.cfg \
        --data_dir=...

All models are trained by `fit` on the same images, taking turns; the first steps of
each turn, which compile and fill the pipeline, are not counted. Without --data_dir the
images are generated, and the network is that of configs/cub200_mobilenet.cfg.
"""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

from ms_keras import program  # before TensorFlow, whose notices it quietens

import tensorflow as tf  # isort: skip
from absl import flags

from benchmarks.photographs import network_defaults, protocol_from_flags
from ms_keras import train
from ms_keras.data.protocol import Protocol

FLAGS = flags.FLAGS

flags.DEFINE_integer("turns", 5, "Turns of each model.", lower_bound=1)
flags.DEFINE_integer("turn_steps", 20, "Counted steps of a turn.", lower_bound=1)
flags.DEFINE_integer("skipped_steps", 5, "Steps before counting.", lower_bound=1)
flags.DEFINE_bool(
    "pipeline", False, "Read new images for every step, instead of keeping one batch."
)
flags.DEFINE_string("out", "", "File for the result as JSON.", allow_override=True)

OURS = "with statistics"


class StepTimes(tf.keras.callbacks.Callback):
    """Collects the seconds of each step, from batch end to batch end."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        """Notes the time."""
        self.ends.append(time.perf_counter())

    def seconds(self, skipped: int) -> float:
        """Returns the mean seconds of a step after the skipped ones."""
        ends = self.ends[skipped - 1 :]
        return (ends[-1] - ends[0]) / (len(ends) - 1)


def cross_entropy_model(classes: int) -> tf.keras.Model:
    """Returns the flags' tower with a linear classifier, compiled."""
    tower = train.model_flags.tower_from_flags()
    logits = tf.keras.layers.Dense(classes, dtype="float32")(tower.output)
    model = tf.keras.Model(tower.input, logits)
    model.compile(
        train.training_flags.optimizer_from_flags(model),
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def without_statistics() -> tf.keras.Model:
    """Returns the flags' tower with its loss, and no metrics."""
    tower = train.compiled_tower()
    tower.compile(tower.optimizer, loss=tower.loss)
    return tower


def turn(model: tf.keras.Model, dataset: tf.data.Dataset) -> float:
    """Trains for a turn and returns the seconds of a step."""
    times = StepTimes()
    steps = FLAGS.skipped_steps + FLAGS.turn_steps
    model.fit(dataset, steps_per_epoch=steps, verbose=0, callbacks=[times])
    return times.seconds(FLAGS.skipped_steps)


def ratios(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Returns their seconds over ours, turn by turn: above 1 we are faster."""
    each = [their / our for our, their in zip(ours, theirs, strict=True)]
    return {"median": statistics.median(each), "min": min(each), "max": max(each)}


def measure(protocol: Protocol) -> dict[str, list[float]]:
    """Returns the seconds of a step of all models, turn by turn."""
    dataset = train.training_data(protocol, first_step=0)
    if not FLAGS.pipeline:
        dataset = dataset.take(1).cache().repeat()
    models = {
        OURS: train.compiled_tower(),
        "without statistics": without_statistics(),
        "cross-entropy": cross_entropy_model(len(protocol.train.class_names)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for number in range(FLAGS.turns):
        for name, model in models.items():
            seconds[name].append(turn(model, dataset))
            print(f"turn {number + 1}: {name} {1000 * seconds[name][-1]:.1f} ms/step")
    return seconds


def table(result: dict[str, Any]) -> str:
    """Returns the result as a Markdown table."""
    lines = ["| | images/s | its time over ours, median (range) |", "|---|---:|---:|"]
    one = {"median": 1.0, "min": 1.0, "max": 1.0}
    for name, speed in result["images_per_second"].items():
        of = result["ratio_to_ours"].get(name, one)
        told = f"{of['median']:.3f} ({of['min']:.3f} to {of['max']:.3f})"
        lines.append(f"| {name} | {speed:.0f} | {told} |")
    return "\n".join(lines)


def main() -> int:
    """Measures all models and prints images/s and their ratios."""
    network_defaults()
    with protocol_from_flags() as protocol:
        seconds = measure(protocol)
    batch = FLAGS.classes_per_batch * FLAGS.images_per_class
    result = {
        "batch": batch,
        "images_per_second": {
            name: batch / statistics.median(values) for name, values in seconds.items()
        },
        "ratio_to_ours": {
            name: ratios(seconds[OURS], theirs)
            for name, theirs in seconds.items()
            if name != OURS
        },
    }
    print(table(result))
    if FLAGS.out:
        with open(FLAGS.out, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=2)
    return 0


if __name__ == "__main__":
    program.run(main, train.ROOMS)
