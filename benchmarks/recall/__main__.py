"""Exact Recall@K and ScaNN beside peers and a floor, in one run.

    python -m benchmarks.recall --out=recall.json

Vectors as many and as long as the test split of Stanford Online Products gives, in
clusters, are searched for Recall@1, 10, 100 and 1000 by contenders that take turns,
each in a process of its own on all cores. Loading a library, the vectors and a first
small search are not counted; nor is the reading of a peer's lists of neighbours. The
floor is a bare matmul of all rows with all rows; what needs half of it may be below.

Memory is the peak during the work beyond what was in use before it, vectors included.
The peers are installed on first use, each into an environment of its own.

The exit status is 1 if an exact peer's Recall@K is not ours, ties aside, or ours did
not work; timing never decides it.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile
from typing import Any

from ms_keras import program  # before TensorFlow, whose notices it quietens

from absl import flags  # isort: skip

from benchmarks.machine import machine
from benchmarks.recall.contenders import OURS, find_contenders
from benchmarks.recall.report import disagreements, report, table
from benchmarks.recall.rounds import all_rounds
from benchmarks.recall.vectors import read_vectors, write_vectors
from ms_keras.retrieval.report import write_json

FLAGS = flags.FLAGS

flags.DEFINE_integer("rows", 60502, "Vectors, each of them a query.")
flags.DEFINE_integer("dim", 512, "Their dimension.")
flags.DEFINE_float(
    "difficulty",
    1.3,
    "Spread of a class against the distance of classes. The default gives a Recall@1 "
    "of about 0.75 at the default size.",
)
flags.DEFINE_integer("seed", 0, "Of the vectors.")
flags.DEFINE_integer("rounds", 3, "Turns of each contender.", lower_bound=1)
flags.DEFINE_list(
    "contenders",
    [],
    "Who takes part: names as in the result, or what is before the dash. Default: all.",
)
flags.DEFINE_float(
    "timeout", 900.0, "Seconds of a turn, then it is given up.", lower_bound=1.0
)
flags.DEFINE_string(
    "peers_dir", ".venv-peers", "Folder where the peers' environments are kept."
)
flags.DEFINE_string("out", "", "File for the result as JSON.")

_VECTOR_FLAGS = ("rows", "dim", "difficulty", "seed")


def main() -> int:
    """Measures all contenders and prints the table."""
    contenders = find_contenders(FLAGS.contenders)
    peers_dir = pathlib.Path(FLAGS.peers_dir).expanduser().absolute()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_vectors(folder, FLAGS.rows, FLAGS.dim, FLAGS.difficulty, FLAGS.seed)
        turns = all_rounds(contenders, folder, peers_dir, FLAGS.rounds, FLAGS.timeout)
        rows = report(contenders, turns, read_vectors(folder))
    result: dict[str, Any] = {
        "machine": machine(),
        "vectors": {flag: FLAGS[flag].value for flag in _VECTOR_FLAGS},
        "rounds": FLAGS.rounds,
        "contenders": rows,
    }
    print(table(result))
    if FLAGS.out:
        write_json(FLAGS.out, result)
    problems = disagreements(rows)
    if OURS in rows and not rows[OURS]["recall"]:
        problems.append(f"ms_keras {rows[OURS]['trouble']}; nothing could be compared.")
    for problem in problems:
        print(f"Error: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    program.run(main)
