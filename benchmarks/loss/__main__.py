"""Losses with their gradients beside peers and a floor, in one run.

    python -m benchmarks.loss --out=loss.json
    python -m benchmarks.loss --losses=others --out=other_losses.json

A contender's turn is a process of its own on all cores, which calls a loss and its
gradient by the embeddings again and again: rows of norm 1, float32, classes of five.
The floor is what no such function can do without: the product of all rows with all,
and that of the weights of all pairs with the rows; where the matrix is too large to be
kept, the first of them twice. Peers have their best form; they are installed on first
use, each into an environment of its own. Beside a result of Multi-Similarity, OUT.png
shows time and memory against the batch. Memory is the peak beyond the inputs.

The exit status is 1 if one of ours could not be measured, or if a contender comes to
another loss or gradient than ours though its definition is the same; timing never
decides it.
"""

from __future__ import annotations

import pathlib
import sys
from typing import Any

from ms_keras import program  # before TensorFlow, whose notices it quietens

from absl import flags  # isort: skip

from benchmarks.loss.agreement import disagreements
from benchmarks.loss.contenders import MULTI_SIMILARITY, OF_MULTI_SIMILARITY, OURS
from benchmarks.loss.other_losses import of_other_losses, sizes_of
from benchmarks.loss.report import growth, picture, table
from benchmarks.loss.rounds import Rounds
from benchmarks.machine import machine
from ms_keras.retrieval.report import write_json

FLAGS = flags.FLAGS

flags.DEFINE_list("batches", ["80", "1024", "8192", "65536"], "Batch sizes.")
flags.DEFINE_list(
    "curve",
    ["256", "2048", "4096", "16384", "32768", "131072"],
    "Further batch sizes, of ours and the floor alone.",
)
flags.DEFINE_integer("dim", 512, "Length of the embeddings.", lower_bound=1)
flags.DEFINE_enum(
    "losses",
    MULTI_SIMILARITY,
    [MULTI_SIMILARITY, "others", "all"],
    "others measures those instead, at batches of 1,024 and 8,192, and smaller where a "
    "peer's memory asks for it; all does both.",
)
flags.DEFINE_integer("rounds", 3, "Turns of each contender.", lower_bound=1)
flags.DEFINE_float("seconds", 2.0, "How long a turn goes on.", lower_bound=0.0)
flags.DEFINE_float("timeout", 900.0, "Seconds of a turn, then it is given up.", 1.0)
flags.DEFINE_list("contenders", [], "Names of those that take part. Default: all.")
flags.DEFINE_string(
    "peers_dir", ".venv-peers", "Folder where the peers' environments are kept."
)
flags.DEFINE_string("out", "", "File for the result as JSON.", allow_override=True)


def main() -> int:
    """Measures, and prints the tables."""
    peers_dir = pathlib.Path(FLAGS.peers_dir).expanduser().absolute()
    rounds = Rounds(FLAGS.dim, FLAGS.rounds, FLAGS.seconds, FLAGS.timeout, peers_dir)
    sizes = {} if FLAGS.losses == "others" else sizes_from_flags()
    result: dict[str, Any] = {
        "machine": machine(),
        "dim": FLAGS.dim,
        "rounds": FLAGS.rounds,
        "multi_similarity": {},
        "others": {},
        "growth": None,
    }
    everyone = chosen(OF_MULTI_SIMILARITY)
    for size, is_curve in sizes.items():
        few = [c for c in everyone if c.name in (OURS, "floor")]
        rows = rounds.at(size, few if is_curve else everyone)
        result["multi_similarity"][str(size)] = rows
        keep(result)
    if FLAGS.losses != MULTI_SIMILARITY:
        for loss, contenders in of_other_losses().items():
            result["others"][loss] = {
                str(size): rounds.at(size, chosen(contenders))
                for size in sizes_of(contenders)
            }
            keep(result)
    print(table(result))
    return problems(result)


def keep(result: dict[str, Any]) -> None:
    """Writes what there is so far: all of it takes hours, and may be ended."""
    result["growth"] = growth(result["multi_similarity"])
    if FLAGS.out:
        write_json(FLAGS.out, result)
    if FLAGS.out and result["multi_similarity"]:
        drawing = pathlib.Path(FLAGS.out).with_suffix(".png")
        picture(drawing, result["multi_similarity"])


def sizes_from_flags() -> dict[int, bool]:
    """Returns batch sizes, rising, and whether they are of the curve alone.

    Raises:
        ValueError: If one of them is no whole number of ten or more.
    """
    sizes: dict[int, bool] = {}
    given = [(text, "curve", True) for text in FLAGS.curve]
    given += [(text, "batches", False) for text in FLAGS.batches]
    for text, flag, is_curve in given:
        if not text.strip().isdecimal() or int(text) < 10:
            raise ValueError(f"--{flag} must be numbers from 10 on; got {text!r}.")
        sizes[int(text)] = is_curve
    return dict(sorted(sizes.items()))


def chosen(contenders: Any) -> list[Any]:
    """Returns the contenders that --contenders names.

    Raises:
        ValueError: If there is none of a name.
    """
    others = [c for many in of_other_losses().values() for c in many]
    known = {c.name for c in (*OF_MULTI_SIMILARITY, *others)}
    unknown = sorted(set(FLAGS.contenders) - known)
    if unknown:
        raise ValueError(
            f"--contenders must be among {', '.join(sorted(known))}; got "
            f"{', '.join(unknown)}."
        )
    return [c for c in contenders if not FLAGS.contenders or c.name in FLAGS.contenders]


def problems(result: dict[str, Any]) -> int:
    """Returns the exit status, and tells what was not measured or not the same."""
    found = [
        (f"{loss} of {int(size):,}", rows)
        for loss, sizes in {
            MULTI_SIMILARITY: result["multi_similarity"],
            **result["others"],
        }.items()
        for size, rows in sizes.items()
    ]
    told = []
    for what, rows in found:
        ours = [row for name, row in rows.items() if name.split("-")[0] == OURS]
        told += [f"{what}: {r['title']} {r['trouble']}" for r in ours if r["trouble"]]
        told += [f"{what}: {sentence}" for sentence in disagreements(rows)]
    for sentence in told:
        print(f"Error: {sentence}.", file=sys.stderr)
    return int(bool(told))


if __name__ == "__main__":
    program.run(main)
