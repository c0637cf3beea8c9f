"""What the loss and its statistics cost of a step, beside plain Keras cross-entropy.

    python -m benchmarks.step
    python -m benchmarks.step --pipeline --flagfile=configs/cub200_mobilenet.cfg \
        --data_dir=...

All models are trained by `fit` on the same tower and images, taking turns, in the other
order every second turn; the first steps of each turn, which compile and fill the
pipeline, are not counted. Differences are of models in the same turn. They scatter more
than they are: so the loss with its gradient and the statistics is also timed alone, on
as many rows as a step has, and told as a share of the step.

Without --data_dir the images are generated, and the network is that of
configs/cub200_mobilenet.cfg with maps as they come, mobilenet_v2_0.35.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from ms_keras import program  # before TensorFlow, whose notices it quietens

import tensorflow as tf  # isort: skip
from absl import flags

from benchmarks import paired
from benchmarks.loss.data import batch_of
from benchmarks.machine import machine
from benchmarks.photographs import network_defaults, protocol_from_flags
from ms_keras import train
from ms_keras.data.protocol import Protocol
from ms_keras.losses import PairLoss, PairStatistics
from ms_keras.retrieval.report import write_json

FLAGS = flags.FLAGS

flags.DEFINE_integer("turns", 10, "Turns of each model.", lower_bound=1)
flags.DEFINE_integer("turn_steps", 20, "Counted steps of a turn.", lower_bound=1)
flags.DEFINE_integer("skipped_steps", 5, "Steps before counting.", lower_bound=1)
flags.DEFINE_bool(
    "pipeline", False, "Read new images for every step, instead of keeping one batch."
)
flags.DEFINE_string("out", "", "File for the result as JSON.", allow_override=True)

OURS = "with statistics"
_FIRST_CALLS, _SECONDS = 5, 2.0  # of the loss alone: not counted, and counted


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
    """Returns the flags' model with its loss, and no metrics."""
    learner = train.compiled_learner()
    learner.compile(learner.optimizer, loss=learner.loss)
    return learner


def turn(model: tf.keras.Model, dataset: tf.data.Dataset) -> float:
    """Trains for a turn and returns the seconds of a step."""
    times = StepTimes()
    steps = FLAGS.skipped_steps + FLAGS.turn_steps
    model.fit(dataset, steps_per_epoch=steps, verbose=0, callbacks=[times])
    return times.seconds(FLAGS.skipped_steps)


def measure(protocol: Protocol) -> dict[str, list[float]]:
    """Returns the seconds of a step of all models, turn by turn."""
    dataset = train.training_data(protocol, first_step=0)
    if not FLAGS.pipeline:
        dataset = dataset.take(1).cache().repeat()
    models = {
        OURS: train.compiled_learner(),
        "without statistics": without_statistics(),
        "cross-entropy": cross_entropy_model(len(protocol.train.class_names)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for number in range(FLAGS.turns):
        order = list(models.items())
        # So that what drifts, or what the one leaves in caches, is shared alike.
        for name, model in reversed(order) if number % 2 else order:
            seconds[name].append(turn(model, dataset))
            print(f"turn {number + 1}: {name} {1000 * seconds[name][-1]:.1f} ms/step")
    return seconds


def seconds_alone(batch: int) -> float:
    """Returns the seconds of the flags' loss, its gradient and the statistics alone."""
    given = batch_of(batch, FLAGS.embedding_dim)
    labels, rows = tf.constant(given.labels), tf.constant(given.rows)
    loss = train.loss_flags.loss_from_flags()
    metrics = [PairStatistics(loss)] if isinstance(loss, PairLoss) else []

    @tf.function(autograph=False)
    def work() -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(rows)
            value = loss(labels, rows)
        for metric in metrics:
            metric.update_state(labels, rows)
        return value, tape.gradient(value, rows)

    times: list[float] = []
    while len(times) <= _FIRST_CALLS or sum(times[_FIRST_CALLS:]) < _SECONDS:
        begin = time.perf_counter()
        work()[1].numpy()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[_FIRST_CALLS:])


def table(result: dict[str, Any]) -> str:
    """Returns the result as a Markdown table and a sentence."""
    lines = [
        f"| batch {result['batch']} | images/s | ms/step | a step with loss and "
        "statistics takes more by, mean (95 %) |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, seconds in result["seconds"].items():
        middle = statistics.median(seconds)
        more = result["ours_over"].get(name)
        lines.append(
            f"| {name} | {result['batch'] / middle:.0f} | {1000 * middle:.1f} | "
            f"{paired.told(more) if more else ''} |"
        )
    alone = (
        f"Alone, the loss with its gradient and the statistics of {result['batch']} "
        f"rows of {result['dim']} take {1000 * result['seconds_alone']:.2f} ms: "
        f"{result['share_alone']:.2%} of a step."
    )
    return "\n".join([*lines, "", alone])


def main() -> int:
    """Measures all models, and the loss alone, and prints what it costs."""
    network_defaults()
    with protocol_from_flags() as protocol:
        seconds = measure(protocol)
    batch = FLAGS.classes_per_batch * FLAGS.images_per_class
    alone = seconds_alone(batch)
    result = {
        "machine": machine(),
        "batch": batch,
        "dim": FLAGS.embedding_dim,
        "seconds": seconds,
        "ours_over": {
            name: paired.excess(seconds[OURS], theirs)
            for name, theirs in seconds.items()
            if name != OURS
        },
        "seconds_alone": alone,
        "share_alone": alone / statistics.median(seconds[OURS]),
    }
    print(table(result))
    if FLAGS.out:
        write_json(FLAGS.out, result)
    return 0


if __name__ == "__main__":
    program.run(main, train.ROOMS)
