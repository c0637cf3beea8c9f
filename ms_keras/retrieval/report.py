"""A report of scores: as JSON, and as a table."""

from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ms_keras.retrieval.further_scores import (
    further_scores,
    interval_as_json,
    recall_intervals,
)
from ms_keras.retrieval.saved_arrays import SavedArrays
from ms_keras.retrieval.scores import Scores

TITLES = {
    "pixels": "raw pixels",
    "frozen": "frozen: tower before training",
    "frozen_features": "frozen: its pooled features",
    "trained": "trained",
}
METRIC_TITLES = {
    "precision_at_1": "precision at 1",
    "r_precision": "R-precision",
    "map_at_r": "MAP@R",
    "nmi": "NMI",
    "ami": "AMI",
}


def as_json(recall: Mapping[int, float]) -> dict[str, float]:
    """Returns a recall with string keys, as JSON has them."""
    return {str(k): value for k, value in recall.items()}


def report_of(
    scores: Scores,
    arrays: SavedArrays,
    kinds: Sequence[str] = (),
) -> dict[str, Any]:
    """Returns scores with their intervals, in the form of a run's `recall.json`.

    Args:
        scores: Recall@K.
        arrays: What was scored.
        kinds: Which further scores to add, of `further_scores.KINDS`.

    Raises:
        ValueError: As `further_scores`.
    """
    recall = recall_intervals(scores.ranks, arrays.labels, list(scores.recall))
    further = further_scores(arrays, kinds)
    return {
        "recall": as_json(scores.recall),
        **scores.counts(),
        **({"metrics": _told(further.metrics)} if further.metrics else {}),
        "intervals": {
            "recall": {str(k): interval_as_json(i) for k, i in recall.items()},
            **{n: interval_as_json(i) for n, i in further.intervals.items()},
        },
    }


def _told(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Returns scores as JSON has them: `None` for one that says nothing."""
    return {name: None if math.isnan(v) else v for name, v in metrics.items()}


def table(report: Mapping[str, Any]) -> str:
    """Returns a report, in the form of `recall.json`, as lines of text."""
    rows = {"trained": report["recall"]}
    for name in ("frozen_features", "frozen", "pixels"):
        if report.get(f"{name}_recall"):
            rows[name] = report[f"{name}_recall"]
    width = max(len(TITLES[name]) for name in rows)
    header = "".join(f"{'R@' + k:>8}" for k in report["recall"])
    lines = [" " * width + header]
    for name, recall in reversed(rows.items()):
        cells = "".join(
            f"{100 * recall[k]:8.2f}" if k in recall else f"{'-':>8}"
            for k in report["recall"]
        )
        lines.append(f"{TITLES[name]:<{width}}{cells}")
    lines += _score_lines(report)
    lines.append(
        f"{report['num_queries']} queries, each searched in {report['num_gallery']} "
        f"images; {report['num_without_positive']} queries without a positive and "
        f"{report['num_skipped']} unreadable images left out"
    )
    return "\n".join(lines)


def _score_lines(report: Mapping[str, Any]) -> list[str]:
    """Returns a line for each score that has an interval or is no Recall@K."""
    intervals = dict(report.get("intervals", {}))
    recall_intervals = intervals.pop("recall", {})
    scores = {
        f"R@{k}": (report["recall"][k], interval)
        for k, interval in recall_intervals.items()
    }
    for name, value in report.get("metrics", {}).items():
        scores[METRIC_TITLES[name]] = (value, intervals.get(name))
    return [
        f"{title:<20}{_percent(value):>8}"
        + (
            f"   95 % of test sets: {_percent(bounds[0])} to {_percent(bounds[1])}"
            if bounds
            else ""
        )
        for title, (value, bounds) in scores.items()
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Writes JSON that is complete or absent, whenever the program is killed."""
    target = pathlib.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(beside, target)
