"""The training pipeline beside a bare loop that decodes, crops and resizes.

    python -m benchmarks.input_pipeline --flagfile=configs/cub200_mobilenet.cfg \
        --data_dir=... --image_size=224

Without --data_dir the images are generated, and the network is that of the recipe.

The bare loops read the same files with `tf.data`, batch and prefetch them, and do
nothing else: no balanced classes, no resuming, no unreadable images. One decodes and
resizes as accurately as we do, the other at TensorFlow's defaults. All take turns.

Then the share of a training step that waits for images: its time with the pipeline
against that with one batch kept, in turns too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from ms_keras import program  # before TensorFlow, whose notices it quietens

import tensorflow as tf  # isort: skip
from absl import flags

from benchmarks.machine import machine
from benchmarks.photographs import network_defaults, protocol_from_flags
from benchmarks.step import turn
from ms_keras import train
from ms_keras.data.images import Augmentation, decode_for_training
from ms_keras.data.protocol import ImageSet, Protocol
from ms_keras.retrieval.report import write_json

FLAGS = flags.FLAGS
OURS = "ms_keras"

flags.DEFINE_integer("batches", 40, "Counted batches of a turn.", lower_bound=1)
flags.DEFINE_integer("skipped_batches", 10, "Batches before counting.", lower_bound=0)


def bare_loop(
    images: ImageSet, decode: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
) -> tf.data.Dataset:
    """Returns shuffled batches of images, decoded and nothing else."""
    batch = FLAGS.classes_per_batch * FLAGS.images_per_class
    indices = tf.data.Dataset.range(len(images))
    return (
        indices.shuffle(len(images), seed=FLAGS.seed)
        .repeat()
        .map(
            lambda index: decode(images.read(index), index),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .batch(batch)
        .prefetch(2)
    )


def accurate(augmentation: Augmentation) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns our own decoding of a random crop."""

    def decode(encoded: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        return decode_for_training(encoded, tf.stack([index, index]), augmentation)

    return decode


def plain(augmentation: Augmentation) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns TensorFlow's decoding of a random crop of a JPEG, at its defaults."""
    size = augmentation.image_size

    def decode(encoded: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.io.extract_jpeg_shape(encoded),
            tf.zeros([1, 0, 4]),
            seed=tf.stack([index, index]),
            area_range=(augmentation.min_area, 1.0),
            use_image_if_no_bounding_boxes=True,
        )
        window = tf.concat([begin[:2], extent[:2]], axis=0)
        crop = tf.image.decode_and_crop_jpeg(encoded, window, channels=3)
        return tf.image.resize(crop, [size, size])

    return decode


def images_per_second(batches: Iterator) -> float:
    """Draws batches for a turn and returns their speed."""
    for _ in range(FLAGS.skipped_batches):
        next(batches)
    count, begin = 0, time.perf_counter()
    for _ in range(FLAGS.batches):
        batch = next(batches)
        count += int(tf.shape(batch[0] if isinstance(batch, tuple) else batch)[0])
    return count / (time.perf_counter() - begin)


def ratios(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Returns ours over theirs, turn by turn."""
    each = [our / their for our, their in zip(ours, theirs, strict=True)]
    return {"median": statistics.median(each), "min": min(each), "max": max(each)}


def share_waiting(dataset: tf.data.Dataset) -> dict[str, float]:
    """Returns what part of a training step waits for images."""
    learner = train.compiled_learner()
    with_input: list[float] = []
    without: list[float] = []
    kept = dataset.take(1).cache().repeat()
    for _ in range(FLAGS.turns):
        with_input.append(turn(learner, dataset))
        without.append(turn(learner, kept))
    seconds, alone = statistics.median(with_input), statistics.median(without)
    return {
        "seconds_per_step": seconds,
        "seconds_with_a_kept_batch": alone,
        "share_waiting": max(0.0, 1 - alone / seconds),
    }


def measure(protocol: Protocol) -> dict[str, Any]:
    """Returns images/s of all loops, their ratios, and how long training waits."""
    augmentation = train.data_flags.augmentation_from_flags(
        FLAGS.image_size, train.model_flags.short_side_from_flags()
    )
    ours = train.training_data(protocol)
    loops = {
        OURS: ours,
        "bare, as accurate": bare_loop(protocol.train, accurate(augmentation)),
        "bare, TensorFlow's defaults": bare_loop(protocol.train, plain(augmentation)),
    }
    speeds: dict[str, list[float]] = {name: [] for name in loops}
    for number in range(FLAGS.turns):
        for name, dataset in loops.items():
            speeds[name].append(images_per_second(iter(dataset)))
            print(f"turn {number + 1}: {name} {speeds[name][-1]:.0f} images/s")
    return {
        "machine": machine(),
        "image_size": FLAGS.image_size,
        "images_per_second": {n: statistics.median(s) for n, s in speeds.items()},
        "ours_over_theirs": {
            name: ratios(speeds[OURS], theirs)
            for name, theirs in speeds.items()
            if name != OURS
        },
        "training": share_waiting(ours),
    }


def table(result: dict[str, Any]) -> str:
    """Returns the result as a Markdown table and a sentence."""
    lines = ["| | images/s | ours over it, median (range) |", "|---|---:|---:|"]
    one = {"median": 1.0, "min": 1.0, "max": 1.0}
    for name, speed in result["images_per_second"].items():
        of = result["ours_over_theirs"].get(name, one)
        told = f"{of['median']:.2f} ({of['min']:.2f} to {of['max']:.2f})"
        lines.append(f"| {name} | {speed:.0f} | {told} |")
    training = result["training"]
    waits = (
        f"Of a training step of {training['seconds_per_step']:.2f} s, "
        f"{training['share_waiting']:.1%} wait for images."
    )
    return "\n".join([*lines, "", waits])


def main() -> int:
    """Measures all loops and prints images/s and their ratios."""
    network_defaults()
    with protocol_from_flags() as protocol:
        result = measure(protocol)
    print(table(result))
    if FLAGS.out:
        write_json(FLAGS.out, result)
    return 0


if __name__ == "__main__":
    program.run(main, train.ROOMS)
