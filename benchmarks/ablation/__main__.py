"""The paper's ablation: every method trained alike, and compared.

    python -m benchmarks.ablation --cub_dir=... --grocery_dir=... --weights=...

All rows share one protocol, so that they differ in nothing but the loss: MobileNetV2
of width 0.35 with ImageNet weights, whose lower layers stay as they are; batches of
16 classes with 5 images each; AdamW, to which the scale of a loss does not matter; the
same number of steps. The learning rate of each row is chosen among the same few on
training classes that are held out while choosing. Then each row is trained on all
training classes and scored on the test classes, with several seeds.

The activations of the frozen layers are computed once. Everything is kept in --out_dir:
started again, the program goes on where it ended.
"""

from __future__ import annotations

import os
import pathlib
import sys

from ms_keras import program  # before TensorFlow, whose notices it quietens

from absl import flags  # isort: skip

from benchmarks.ablation.datasets import IMAGE_SIZES
from benchmarks.ablation.report import write_report
from benchmarks.ablation.schedule import run_all
from benchmarks.ablation.settings import Settings, Source, recorded
from benchmarks.ablation.workers import WorkerError

FLAGS = flags.FLAGS

flags.DEFINE_list("datasets", "cub,grocery", "Data sets: cub, grocery.")
flags.DEFINE_string(
    "cub_dir", "", "Folder of CUB-200-2011's images, a sub-folder per class."
)
flags.DEFINE_string(
    "grocery_dir", "", "Folder of the Grocery Store data set, with its three lists."
)
flags.DEFINE_string(
    "weights", "imagenet", "Weights of the backbone: imagenet, none, or a file."
)
flags.DEFINE_string("out_dir", "runs/ablation", "Where everything is kept.")
flags.DEFINE_integer("steps", 800, "Length of a scored run.")
flags.DEFINE_integer("search_steps", 400, "Length of a run that chooses a rate.")
flags.DEFINE_integer("scorings", 5, "How often a run is scored on its way.")
flags.DEFINE_list("learning_rates", "1e-4,3e-4,1e-3", "The rates to choose from.")
flags.DEFINE_list("seeds", "0,1,2", "A scored run of each row for each seed.")
flags.DEFINE_integer("crops", 8, "Random crops that are kept of a training image.")
flags.DEFINE_integer(
    "workers", 0, "Processes of one thread each; 0: as many as cores.", lower_bound=0
)
flags.DEFINE_bool("report_only", False, "Make the report of what is finished.")


def main() -> int:
    """Runs what is missing and writes the report."""
    out_dir = pathlib.Path(FLAGS.out_dir).expanduser()
    if FLAGS.report_only:
        print(write_report(out_dir, recorded(out_dir)))
        return 0
    settings = _settings()
    try:
        run_all(out_dir, settings, FLAGS.workers or _cores())
    except WorkerError as error:
        print(
            f"Error: {error}\nFinished runs are kept; the same command goes on.",
            file=sys.stderr,
        )
        return 1
    print(write_report(out_dir, settings))
    return 0


def _settings() -> Settings:
    return Settings(
        sources=tuple(_source(name.strip()) for name in FLAGS.datasets),
        weights=FLAGS.weights,
        steps=FLAGS.steps,
        search_steps=FLAGS.search_steps,
        scorings=FLAGS.scorings,
        learning_rates=_numbers("learning_rates", float),
        seeds=_numbers("seeds", int),
        crops=FLAGS.crops,
    )


def _source(name: str) -> Source:
    if name not in IMAGE_SIZES:
        raise ValueError(
            f"--datasets must be a list of {', '.join(IMAGE_SIZES)}; got {name!r}."
        )
    return Source(name, getattr(FLAGS, f"{name}_dir"), IMAGE_SIZES[name])


def _numbers(flag: str, kind: type) -> tuple:
    texts: list[str] = getattr(FLAGS, flag)
    try:
        return tuple(kind(text) for text in texts)
    except ValueError:
        raise ValueError(
            f"--{flag} must be numbers with commas between them, like "
            f"{FLAGS[flag].default}; got {','.join(texts)!r}."
        ) from None


def _cores() -> int:
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    program.run(main)
