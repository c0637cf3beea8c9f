"""A table of finished runs, each told by the flags that most of the others have not.

    python -m ms_keras.train --flagfile=configs/cub200_mobilenet.cfg --data_dir=... \
        --hold_out=0.25 --learning_rate=1e-3 --run_dir=runs/tuning/rate_1e-3
    ...
    python -m benchmarks.runs --runs=runs/tuning --out=benchmarks/results/tuning.json

Runs that differ in nothing but `--seed` make one row. The gain is over the pooled
features before training. Minutes are those from a run's first to its last line in
TensorBoard's events: training and the scores on the way, not those before and after.
"""

from __future__ import annotations

import collections
import json
import pathlib
import statistics
from typing import Any

from ms_keras import program  # before TensorFlow, whose notices it quietens

import tensorflow as tf  # isort: skip
from absl import flags

from ms_keras.retrieval.report import write_json

FLAGS = flags.FLAGS

flags.DEFINE_string("runs", "", "Folder whose sub-folders are runs.")
flags.DEFINE_string("out", "", "File for the result as JSON.", allow_override=True)


def flags_of(run: pathlib.Path) -> dict[str, str]:
    """Returns the flags a run was started with, but for its seed, by name.

    Of a path only the last part is told.
    """
    lines = (run / "flags.cfg").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if line.startswith("--"))
    return {
        name: pathlib.PurePath(value).name
        for name, _, value in pairs
        if name != "--seed"
    }


def minutes_of(run: pathlib.Path) -> float:
    """Returns how long a run trained, by the clock of its events."""
    seconds = [
        tf.compat.v1.Event.FromString(record).wall_time
        for path in (run / "events").glob("*tfevents*")
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]
    return (max(seconds) - min(seconds)) / 60


def collect(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the folder's finished runs, the best first, and what they are scored on.

    Raises:
        ValueError: If there is none, or they are not all scored on the same images.
    """
    reports = {
        path.parent: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*/recall.json"))
    }
    if not reports:
        raise ValueError(f"--runs={folder} holds no finished run in a sub-folder.")
    scored_on = {(r["protocol"], r["num_queries"]) for r in reports.values()}
    if len(scored_on) > 1:
        several = "; ".join(f"{name}: {count}" for name, count in sorted(scored_on))
        raise ValueError(
            "Scores of different images do not compare; these runs have queries of "
            f"{several}. Keep them in different folders."
        )
    ((protocol, queries),) = scored_on
    flags_of_runs = {run: flags_of(run) for run in reports}
    usual = _most_common(list(flags_of_runs.values()))
    groups: dict[tuple[str, ...], list[pathlib.Path]] = {}
    for run, its_flags in flags_of_runs.items():
        own = [f"{n}={v}".rstrip("=") for n, v in its_flags.items() if usual[n] != v]
        groups.setdefault(tuple(sorted(own)), []).append(run)
    rows = [
        _row(own, [reports[run] for run in runs], [minutes_of(run) for run in runs])
        for own, runs in groups.items()
    ]
    return {
        "protocol": protocol,
        "num_queries": queries,
        "runs": sorted(rows, key=lambda row: -statistics.mean(row["recall_at_1"])),
    }


def _most_common(flags_of_runs: list[dict[str, str]]) -> dict[str, str | None]:
    """Returns for each flag the value that most runs have; None where they lack it."""
    names = {name for its_flags in flags_of_runs for name in its_flags}
    return {
        name: collections.Counter(
            its_flags.get(name) for its_flags in flags_of_runs
        ).most_common(1)[0][0]
        for name in names
    }


def _row(
    own: tuple[str, ...], reports: list[dict[str, Any]], minutes: list[float]
) -> dict[str, Any]:
    return {
        "flags": own,
        "steps": reports[0]["steps"],
        "pooled": reports[0]["frozen_features_recall"]["1"],
        "before": [report["frozen_recall"]["1"] for report in reports],
        "recall_at_1": [report["recall"]["1"] for report in reports],
        "minutes": statistics.mean(minutes),
    }


def table(result: dict[str, Any]) -> str:
    """Returns the runs as a Markdown table, the best first."""
    lines = [
        "| flags | steps | pooled, frozen | before training | R@1 | gain | minutes |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in result["runs"]:
        told = " ".join(f"`{flag}`" for flag in row["flags"]) or "-"
        gain = 100 * (statistics.mean(row["recall_at_1"]) - row["pooled"])
        cells = [
            told,
            f"{row['steps']:,}",
            f"{100 * row['pooled']:.1f}",
            _over_seeds(row["before"]),
            _over_seeds(row["recall_at_1"]),
            f"{gain:+.1f}",
            f"{row['minutes']:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    scored = (
        f"R@1 in % of {result['num_queries']:,} queries of {result['protocol']}; ± is "
        "the standard deviation over seeds, where there are several."
    )
    return "\n".join([*lines, "", scored])


def _over_seeds(shares: list[float]) -> str:
    mean = f"{100 * statistics.mean(shares):.1f}"
    if len(shares) == 1:
        return mean
    return f"{mean} ± {100 * statistics.stdev(shares):.1f}"


def main() -> None:
    """Reads the runs, prints the table and writes it as JSON."""
    if not FLAGS.runs:
        raise ValueError("--runs is missing: say which folder holds the runs.")
    result = collect(pathlib.Path(FLAGS.runs))
    print(table(result))
    if FLAGS.out:
        write_json(FLAGS.out, result)


if __name__ == "__main__":
    program.run(main)
