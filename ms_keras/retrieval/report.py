"""A report of scores: as JSON, and as a table."""

from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ms_keras.retrieval.bootstrap import Interval
from ms_keras.retrieval.class_report import class_lines, class_report
from ms_keras.retrieval.further_scores import KINDS as SCORES
from ms_keras.retrieval.further_scores import (
    further_scores,
    interval_as_json,
    recall_intervals,
)
from ms_keras.retrieval.recall import best_positive_ranks
from ms_keras.retrieval.saved_arrays import SavedArrays
from ms_keras.retrieval.scores import Scores

_CLASSES = "classes"
KINDS = (*SCORES, _CLASSES)
TITLES = {
    "pixels": "raw pixels",
    "frozen": "frozen: tower before training",
    "frozen_features": "frozen: its pooled features",
    "trained": "trained",
    "exact": "trained, by exact search",
    "scann": "trained, by ScaNN",
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


def intervals_as_json(
    intervals: Mapping[int, Interval],
) -> dict[str, list[float] | None]:
    """Returns the intervals of a recall with string keys, as JSON has them."""
    return {str(k): interval_as_json(interval) for k, interval in intervals.items()}


def report_of(
    scores: Scores,
    arrays: SavedArrays,
    kinds: Sequence[str] = (),
    class_names: Sequence[str] = (),
) -> dict[str, Any]:
    """Returns scores with their intervals, in the form of a run's `recall.json`.

    `intervals` has for each score that has one its interval under the same name.

    Args:
        scores: Recall@K.
        arrays: What was scored.
        kinds: Which further scores to add, of `KINDS`. Defaults to none.
        class_names: A name per class id. Defaults to none: labels are names.

    Raises:
        ValueError: As `further_scores`.
    """
    report = {
        "recall": as_json(scores.recall),
        **scores.counts(),
        "intervals": {"recall": _recall_intervals(scores, arrays.labels)},
    }
    return with_further_scores(report, arrays, kinds, class_names, scores.ranks)


def with_further_scores(
    report: Mapping[str, Any],
    arrays: SavedArrays,
    kinds: Sequence[str],
    class_names: Sequence[str] = (),
    ranks: np.ndarray | None = None,
) -> dict[str, Any]:
    """Returns a report with more scores of the same embeddings; all of them exact.

    Args:
        report: In the form of `report_of`.
        arrays: What was scored.
        kinds: Which scores to add, of `KINDS`.
        class_names: A name per class id. Defaults to none: labels are names.
        ranks: `[queries]` of `best_positive_ranks`, if known.

    Raises:
        ValueError: As `further_scores`.
    """
    found = further_scores(arrays, [kind for kind in kinds if kind != _CLASSES])
    added: dict[str, Any] = {}
    if found.metrics:
        added["metrics"] = _told(found.metrics)
    if _CLASSES in kinds:
        ranks = best_positive_ranks(*arrays) if ranks is None else ranks
        added[_CLASSES] = class_report(arrays, ranks, class_names)
    intervals = {n: interval_as_json(i) for n, i in found.intervals.items()}
    return {**report, **added, "intervals": {**report["intervals"], **intervals}}


def baselines_of(scores: Mapping[str, Scores], labels: np.ndarray) -> dict[str, Any]:
    """Returns the scores of baselines with their intervals, as part of a report.

    Args:
        scores: The scores of each, by name.
        labels: `[queries]` class ids.
    """
    recalls = {f"{name}_recall": as_json(one.recall) for name, one in scores.items()}
    intervals = {
        f"{name}_recall": _recall_intervals(one, labels) for name, one in scores.items()
    }
    return {**recalls, "intervals": intervals}


def baselines_in(report: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the part of a report that `baselines_of` gave."""
    recalls = {name: v for name, v in report.items() if name.endswith("_recall")}
    intervals = report.get("intervals", {})
    known = {name: intervals[name] for name in recalls if name in intervals}
    return {**recalls, "intervals": known}


def with_baselines(
    report: Mapping[str, Any], baselines: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns a report with the scores of `baselines_of` beside its own."""
    intervals = {**report["intervals"], **baselines.get("intervals", {})}
    return {**report, **baselines, "intervals": intervals}


def with_scann(exact: Mapping[str, Any], by_scann: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a report whose `recall` is ScaNN's; `exact_recall` is the exact one.

    Args:
        exact: Of exact search.
        by_scann: Of ScaNN, in the form of `flags.scores_by_scann`.
    """
    intervals = {
        **exact["intervals"],
        **by_scann["intervals"],
        "exact_recall": exact["intervals"]["recall"],
    }
    return {
        **exact,
        **by_scann,
        "exact_recall": exact["recall"],
        "intervals": intervals,
    }


def _recall_intervals(
    scores: Scores, labels: np.ndarray
) -> dict[str, list[float] | None]:
    ks = list(scores.recall)
    return intervals_as_json(recall_intervals(scores.ranks, labels, ks))


def _told(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Returns scores as JSON has them: `None` for one that says nothing."""
    return {name: None if math.isnan(v) else v for name, v in metrics.items()}


def table(report: Mapping[str, Any]) -> str:
    """Returns a report, in the form of `recall.json`, as lines of text."""
    rows = {"scann" if report.get("scann") else "trained": report["recall"]}
    for name in ("exact", "frozen_features", "frozen", "pixels"):
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
    lines += _score_lines(report) + class_lines(report.get(_CLASSES))
    lines.append(
        f"{report['num_queries']} queries, each searched in {report['num_gallery']} "
        f"images; {report['num_without_positive']} queries without a positive and "
        f"{report['num_skipped']} unreadable images left out"
    )
    return "\n".join(lines)


def _score_lines(report: Mapping[str, Any]) -> list[str]:
    """Returns a line for each score that has an interval or is no Recall@K."""
    intervals = report.get("intervals", {})
    scores = {
        f"R@{k}{note}": (report[name][k], interval)
        for name, note in {"recall": "", "exact_recall": ", exact"}.items()
        for k, interval in intervals.get(name, {}).items()
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
