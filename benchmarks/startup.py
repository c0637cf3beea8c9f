"""Seconds until something happens: importing, `--help`, and the first step.

    python -m benchmarks.startup --rounds=5 --out=startup.json

Processes of their own take turns; one round before them, not counted, fills the disk's
cache. Importing and `--help` are whole processes. The first step is the first call of
the Multi-Similarity loss with its gradient, rows of 512, in a process that has imported
everything: it traces, and compiles what is large enough for XLA. With XLA's persistent
cache, where TensorFlow keeps what it compiled for this device, it only traces, links
and runs; where it does not, the table says why.
"""

from __future__ import annotations

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

from benchmarks.machine import machine
from ms_keras.retrieval.report import write_json

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
import sys
import time
import tensorflow as tf
from ms_keras import MultiSimilarityLoss

loss = MultiSimilarityLoss()
batch = int(sys.argv[1])
rows = tf.Variable(tf.math.l2_normalize(tf.random.normal((batch, 512)), axis=-1))
labels = tf.range(batch) // 5

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
_CACHED = "XLA's cache"
# Rows: as in the recipes, where XLA does not pay, and where it does.
_SMALL, _LARGE = 80, 1024


def whole_process(arguments: list[str]) -> float:
    """Returns the seconds of a Python process."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], check=True, capture_output=True, cwd=_root()
    )
    return time.perf_counter() - start


class StepError(RuntimeError):
    """A first step that failed, or left nothing in its cache; the message says how."""


def first_steps(rows: int, cache: str = "") -> list[float]:
    """Returns the seconds of the first and the second step.

    Args:
        rows: Of a batch.
        cache: Folder of XLA's persistent cache. Defaults to `""`: none.

    Raises:
        StepError: If they fail, or there is nothing in the cache's folder after them.
    """
    environment = dict(os.environ)
    if cache:
        environment["TF_XLA_FLAGS"] = " ".join(
            [
                environment.get("TF_XLA_FLAGS", ""),
                f"--tf_xla_persistent_cache_directory={cache}",
                "--tf_xla_persistent_cache_device_types=CPU,GPU",
            ]
        ).strip()
    finished = subprocess.run(
        [sys.executable, "-c", _FIRST_STEP, str(rows)],
        capture_output=True,
        check=False,
        text=True,
        cwd=_root(),
        env=environment,
    )
    if finished.returncode:
        raise StepError(f"The first step failed: {_error_in(finished.stderr)}")
    if cache and not any(path.is_file() for path in pathlib.Path(cache).rglob("*")):
        raise StepError("XLA left nothing in its cache's folder.")
    return [float(line) for line in finished.stdout.splitlines()]


def measure(cache: str, rounds: int) -> tuple[dict[str, list[float]], str]:
    """Returns the seconds of everything, round by round, and why there is no cache.

    Args:
        cache: An empty folder.
        rounds: How many are counted.

    Raises:
        StepError: If the first step fails without a cache.
    """
    seconds: dict[str, list[float]] = {}
    trouble = ""
    for number in range(rounds + 1):
        turn = {name: whole_process(code) for name, code in _CODE.items()}
        for rows in (_SMALL, _LARGE):
            turn.update(_as_turn(f"{rows:,} rows", first_steps(rows)))
        if not trouble:
            try:
                steps = first_steps(_LARGE, cache)
                turn.update(_as_turn(f"{_LARGE:,} rows, {_CACHED}", steps))
            except StepError as error:
                trouble = str(error)
                print(f"With {_CACHED}: {trouble}", file=sys.stderr, flush=True)
        if number:
            print(f"round {number} of {rounds}", flush=True)
            for name, value in turn.items():
                seconds.setdefault(name, []).append(value)
    return seconds, trouble


def table(result: dict[str, Any]) -> str:
    """Returns the result as a Markdown table and a sentence."""
    lines = ["| | s, median (range) |", "| --- | ---: |"]
    for name, values in result["seconds"].items():
        middle = statistics.median(values)
        lines.append(
            f"| {name} | {middle:.3f} ({min(values):.3f} to {max(values):.3f}) |"
        )
    told = f"`{_OURS}` takes {result['import_ratio']:.2f} of `{_FLOOR}`."
    if result["no_cache"]:
        told += f" XLA's cache serves nothing here. {result['no_cache']}"
    return "\n".join([*lines, "", told])


def main() -> int:
    """Measures and prints a table."""
    with tempfile.TemporaryDirectory() as cache:
        seconds, no_cache = measure(cache, FLAGS.rounds)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    result = {
        "machine": machine(),
        "seconds": seconds,
        "import_ratio": medians[_OURS] / medians[_FLOOR],
        "no_cache": no_cache,
    }
    print(table(result))
    if FLAGS.out:
        write_json(FLAGS.out, result)
    return 0


def _error_in(stderr: str) -> str:
    """Returns the last line that says something: TensorFlow's places are indented."""
    lines = [line for line in stderr.splitlines() if line and not line[0].isspace()]
    return (lines or ["it was ended"])[-1][:300]


def _as_turn(name: str, steps: list[float]) -> dict[str, float]:
    return {f"first step, {name}": steps[0], f"second step, {name}": steps[1]}


def _root() -> pathlib.Path:
    return pathlib.Path(__file__).parents[1]


if __name__ == "__main__":
    program.run(main)
