"""Seconds until something happens: importing, `--help`, and the first step.

    python -m benchmarks.startup --rounds=5 --out=startup.json

Processes of their own take turns; one round before them, not counted, fills the disk's
cache. Importing and `--help` are whole processes. The first step is the first call of
the Multi-Similarity loss with its gradient, 80 rows of 512, in a process that has
imported everything: it traces and compiles. With XLA's persistent cache, where
TensorFlow offers it for this device, it only traces, links and runs.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from ms_keras import program  # before TensorFlow, whose notices it quietens

from absl import flags  # isort: skip

FLAGS = flags.FLAGS

flags.DEFINE_integer("rounds", 5, "Counted turns of each.", lower_bound=1)
flags.DEFINE_string("out", "", "File for the result as JSON.", allow_override=True)

_CODE = {
    "import tensorflow": ["-c", "import tensorflow"],
    "import ms_keras": ["-c", "import ms_keras"],
    "python -m ms_keras.train --help": ["-m", "ms_keras.train", "--help"],
    "python -m ms_keras.evaluate --help": ["-m", "ms_keras.evaluate", "--help"],
}
_FIRST_STEP = """
import time
import tensorflow as tf
from ms_keras import MultiSimilarityLoss

loss = MultiSimilarityLoss()
rows = tf.Variable(tf.math.l2_normalize(tf.random.normal((80, 512)), axis=-1))
labels = tf.repeat(tf.range(16), 5)

@tf.function
def step():
    with tf.GradientTape() as tape:
        value = loss(labels, rows)
    return value, tape.gradient(value, rows)

for _ in range(2):
    start = time.perf_counter()
    step()
    print(time.perf_counter() - start)
"""
_FLOOR, _OURS = "import tensorflow", "import ms_keras"


def whole_process(arguments: list[str]) -> float:
    """Returns the seconds of a Python process."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], check=True, capture_output=True, cwd=_root()
    )
    return time.perf_counter() - start


def first_steps(cache: str = "") -> list[float] | None:
    """Returns the seconds of the first and the second step; `None` if they fail.

    Args:
        cache: Folder of XLA's persistent cache. Defaults to `""`: none.
    """
    environment = dict(os.environ)
    if cache:
        environment["TF_XLA_FLAGS"] = (
            f"--tf_xla_persistent_cache_directory={cache} "
            "--tf_xla_persistent_cache_device_types=CPU,GPU"
        )
    finished = subprocess.run(
        [sys.executable, "-c", _FIRST_STEP],
        capture_output=True,
        check=False,
        text=True,
        cwd=_root(),
        env=environment,
    )
    if finished.returncode:
        return None
    return [float(line) for line in finished.stdout.splitlines()]


def measure(cache: str) -> dict[str, list[float]]:
    """Returns the seconds of everything, round by round."""
    seconds: dict[str, list[float]] = {}
    for number in range(FLAGS.rounds + 1):
        turn = {name: whole_process(code) for name, code in _CODE.items()}
        for name, folder in (("no cache", ""), ("XLA's cache", cache)):
            steps = first_steps(folder)
            if steps is not None:
                turn[f"first step, {name}"] = steps[0]
                turn[f"second step, {name}"] = steps[1]
        if number:
            print(f"round {number} of {FLAGS.rounds}")
            for name, value in turn.items():
                seconds.setdefault(name, []).append(value)
    return seconds


def table(result: dict[str, Any]) -> str:
    """Returns the result as a Markdown table and a sentence."""
    lines = ["| | s, median (range) |", "| --- | ---: |"]
    for name, values in result["seconds"].items():
        middle = statistics.median(values)
        lines.append(
            f"| {name} | {middle:.3f} ({min(values):.3f} to {max(values):.3f}) |"
        )
    told = f"`{_OURS}` takes {result['import_ratio']:.2f} of `{_FLOOR}`."
    if "first step, XLA's cache" not in result["seconds"]:
        told += " This TensorFlow's XLA keeps nothing that it compiles for the CPU."
    return "\n".join([*lines, "", told])


def main() -> int:
    """Measures and prints a table."""
    with tempfile.TemporaryDirectory() as cache:
        seconds = measure(cache)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    result = {"seconds": seconds, "import_ratio": medians[_OURS] / medians[_FLOOR]}
    print(table(result))
    if FLAGS.out:
        pathlib.Path(FLAGS.out).write_text(json.dumps(result, indent=2) + "\n")
    return 0


def _root() -> pathlib.Path:
    return pathlib.Path(__file__).parents[1]


if __name__ == "__main__":
    program.run(main)
