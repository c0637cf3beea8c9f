"""The result of all rounds, as JSON and as a table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.recall.agreement import agreement, recall_of
from benchmarks.recall.contenders import FLOOR, KS, OURS, Contender
from benchmarks.recall.rounds import Turns
from benchmarks.recall.vectors import Vectors

_MOST_UNEXPLAINED = 0.01  # % of the queries


def report(
    contenders: Sequence[Contender], turns: Mapping[str, Turns], vectors: Vectors
) -> dict[str, Any]:
    """Returns what came of each contender by its name, ready for JSON.

    Ratios are medians over the rounds of its seconds over another's in the same round.
    """
    return {contender.name: _row(contender, turns, vectors) for contender in contenders}


def disagreements(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns a sentence for each exact contender and K that does not agree with us."""
    return [
        f"{row['title']} differs from ms_keras at R@{k} by {row['off_ours'][k]:+.3f} "
        f"points; {share:.3f} % of the queries differ and are no ties."
        for row in rows.values()
        if row["is_exact"]
        for k, share in row["unexplained"].items()
        if share >= _MOST_UNEXPLAINED
    ]


def table(result: Mapping[str, Any]) -> str:
    """Returns the contenders as a table of Markdown."""
    rows: Mapping[str, Mapping[str, Any]] = result["contenders"]
    heads = [
        "contender",
        "s, median (range)",
        "of it building",
        "over the floor",
        "over ms_keras",
        "memory, MB",
        *(f"R@{k}" for k in KS),
        "furthest off, points",
    ]
    lines = [_line(heads), _line(["---", *["---:"] * (len(heads) - 1)])]
    for row in rows.values():
        if row["trouble"]:
            cells = [row["trouble"], *[""] * (len(heads) - 2)]
        else:
            cells = _cells(row)
        lines.append(_line([row["title"], *cells]))
    return "\n".join(lines)


def _row(
    contender: Contender, turns: Mapping[str, Turns], vectors: Vectors
) -> dict[str, Any]:
    own = turns[contender.name]
    row: dict[str, Any] = {
        "title": contender.title,
        "is_exact": contender.is_exact,
        "trouble": own.trouble,
        "recall": {},
        "off_ours": {},
        "unexplained": {},
    }
    if own.results:
        last = own.results[-1]
        row["seconds"] = [result["seconds"] for result in own.results]
        row["median_seconds"] = statistics.median(_totals(own))
        row["over_floor"] = _ratio(own, turns.get(FLOOR))
        row["over_ours"] = _ratio(own, turns.get(OURS))
        peaks = [result["peak_bytes"] for result in own.results]
        row["peak_bytes"] = None if None in peaks else max(peaks)
        row["settings"], row["versions"] = last["settings"], last["versions"]
    if own.ranks is None:
        return row
    ours = turns[OURS].ranks if OURS in turns else None
    for k in contender.ks:
        row["recall"][str(k)] = recall_of(own.ranks, k)
        if ours is not None and contender.name != OURS:
            off = agreement(vectors, ours, own.ranks, k)
            row["off_ours"][str(k)] = off.points
            row["unexplained"][str(k)] = off.unexplained
    return row


def _totals(turns: Turns) -> list[float]:
    return [sum(result["seconds"].values()) for result in turns.results]


def _ratio(turns: Turns, other: Turns | None) -> float | None:
    """Returns the median ratio over the rounds that both finished."""
    pairs = zip(_totals(turns), _totals(other) if other else [], strict=False)
    ratios = [mine / theirs for mine, theirs in pairs]
    return statistics.median(ratios) if ratios else None


def _cells(row: Mapping[str, Any]) -> list[str]:
    totals = [sum(seconds.values()) for seconds in row["seconds"]]
    builds = [s["build"] for s in row["seconds"] if "build" in s]
    furthest = max(row["off_ours"].values(), key=abs, default=None)
    peak = row["peak_bytes"]
    return [
        f"{row['median_seconds']:.2f} ({min(totals):.2f} to {max(totals):.2f})",
        _number(statistics.median(builds) if builds else None, ".2f"),
        _number(row["over_floor"], ".2f"),
        _number(row["over_ours"], ".2f"),
        _number(None if peak is None else peak / 1e6, ",.0f"),
        *(
            _number(100 * row["recall"][str(k)] if str(k) in row["recall"] else None)
            for k in KS
        ),
        _number(furthest, "+.3f"),
    ]


def _number(value: float | None, form: str = ".2f") -> str:
    return "-" if value is None else f"{value:{form}}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
