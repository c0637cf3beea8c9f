"""What came out of an ablation: a table, curves, and whether the paper agrees."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import statistics
from typing import Any

from benchmarks.ablation.agreement import agreement
from benchmarks.ablation.curves import curves_picture
from benchmarks.ablation.datasets import KS
from benchmarks.ablation.rows import find_row
from benchmarks.ablation.runs import FINAL, FROZEN, Run, finished
from benchmarks.ablation.schedule import chosen_rate, search_runs
from benchmarks.ablation.settings import Settings
from ms_keras.retrieval.report import write_json

Results = dict[str, Any]

_PAIR_HEADS = [
    "better in the paper",
    "worse",
    "by",
    "here, by ± spread",
    "agrees",
    "exceeds spread",
]

TITLES = {"cub": "CUB", "grocery": "Grocery"}


def write_report(out_dir: pathlib.Path, settings: Settings) -> str:
    """Writes `results.json`, `table.md`, `curves.png` and `curves.svg`.

    Args:
        out_dir: The ablation's folder.
        settings: What it was started with.

    Returns:
        The contents of `table.md`. Rows without finished runs have a dash.
    """
    results = collect(out_dir, settings)
    write_json(out_dir / "results.json", results)
    text = "\n".join(
        [
            table(results),
            *(agreement_text(n, d) for n, d in results["datasets"].items()),
        ]
    )
    _write_text(out_dir / "table.md", text)
    for extension in ("png", "svg"):
        curves_picture(out_dir / f"curves.{extension}", results)
    return text


def collect(out_dir: pathlib.Path, settings: Settings) -> Results:
    """Gathers the results of all finished runs."""
    datasets = {}
    for source in settings.sources:
        frozen = finished(out_dir, Run(source.name, FROZEN))
        rows = {
            row: _row_results(out_dir, settings, source.name, row)
            for row in settings.rows
        }
        datasets[source.name] = {
            "frozen": frozen and frozen["recall"],
            "rows": rows,
            "agreement": _agreement(rows),
        }
    return {"settings": dataclasses.asdict(settings), "datasets": datasets}


def table(results: Results) -> str:
    """Returns the comparison as a Markdown table, scores in %."""
    datasets = results["datasets"]
    heads = [
        head
        for name in datasets
        for head in (f"{TITLES.get(name, name)} R@1", "learning rate")
    ]
    lines = [
        _line(["method", "similarities", "paper: Cars-196", *heads]),
        _line(["---"] * 2 + ["---:"] * (1 + len(heads))),
    ]
    for name in results["settings"]["rows"]:
        row = find_row(name)
        cells = [cell for d in datasets.values() for cell in _cells(d["rows"][name])]
        paper = "-" if row.paper is None else f"{row.paper:.1f}"
        lines.append(_line([name, row.similarities or "-", paper, *cells]))
    frozen = [
        cell
        for d in datasets.values()
        for cell in (f"{100 * d['frozen']['1']:.1f}" if d["frozen"] else "-", "-")
    ]
    lines.append(_line(["frozen features", "-", "-", *frozen]))
    seeds = len(results["settings"]["seeds"])
    return (
        "\n".join(lines)
        + "\n\nR@1 on the test classes in %, mean ± standard deviation "
        f"(n - 1) over {seeds} seeds. The paper trains another network on other images."
    )


def agreement_text(name: str, dataset: Results) -> str:
    """Returns some lines on whether the paper's order is found in a data set."""
    compared = dataset["agreement"]
    if compared is None:
        return f"\n{TITLES.get(name, name)}: too few finished rows to compare orders."
    pairs = compared["pairs"]
    clear = [pair for pair in pairs if pair["exceeds_spread"]]
    lines = [
        f"\n{TITLES.get(name, name)}: rank correlation with the paper: Kendall "
        f"{compared['kendall']:.2f}, Spearman {compared['spearman']:.2f}. "
        f"{_agreeing(pairs)} of {len(pairs)} pairs of methods are in the paper's "
        f"order; of the {len(clear)} whose difference exceeds its spread over seeds, "
        f"{_agreeing(clear)} are. The spread is the standard deviation of a difference "
        "between single runs.\n",
        _line(_PAIR_HEADS),
        _line(["---", "---", "---:", "---:", "---", "---"]),
    ]
    for pair in pairs:
        ours = f"{100 * pair['difference']:+.1f} ± {100 * pair['spread']:.1f}"
        answers = [_yes(pair["agrees"]), _yes(pair["exceeds_spread"])]
        paper = f"{pair['paper_difference']:+.1f}"
        lines.append(_line([pair["better"], pair["worse"], paper, ours, *answers]))
    return "\n".join(lines)


def _row_results(
    out_dir: pathlib.Path, settings: Settings, dataset: str, row: str
) -> Results:
    """Returns a row's rate, what it was chosen by, and its scores and curve."""
    rate = chosen_rate(out_dir, settings, dataset, row)
    searched = [
        (run.rate, finished(out_dir, run))
        for run in search_runs(settings)
        if (run.dataset, run.row) == (dataset, row)
    ]
    runs = [
        result
        for seed in settings.seeds
        if rate is not None
        and (result := finished(out_dir, Run(dataset, FINAL, row, rate, seed)))
    ]
    return {
        "rate": rate,
        "held_out_recall_at_1": {
            f"{r:g}": result["recall"]["1"] for r, result in searched if result
        },
        "recall": {str(k): _spread([r["recall"][str(k)] for r in runs]) for k in KS},
        "curve": [
            {"step": points[0]["step"], **_spread([p["recall_at_1"] for p in points])}
            for points in zip(*(run["curve"] for run in runs), strict=True)
        ],
        "diverged": sum(run["diverged"] for run in runs),
        "seconds": sum(run["seconds"] for run in runs),
    }


def _spread(values: list[float]) -> Results:
    """Returns mean, sample standard deviation, and the values; null if too few."""
    return {
        "mean": statistics.fmean(values) if values else None,
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "values": values,
    }


def _agreement(rows: Results) -> Results | None:
    """Compares the rows that the paper has, or returns `None` for fewer than two."""
    scores = {
        name: row["recall"]["1"]
        for name, row in rows.items()
        if find_row(name).paper is not None and row["recall"]["1"]["mean"] is not None
    }
    if len(scores) < 2:
        return None
    return agreement(
        {name: find_row(name).paper or 0.0 for name in scores},
        {name: score["mean"] for name, score in scores.items()},
        {name: score["std"] or 0.0 for name, score in scores.items()},
    )


def _cells(row: Results) -> list[str]:
    score = row["recall"]["1"]
    if score["mean"] is None:
        return ["-", "-"]
    spread = "" if score["std"] is None else f" ± {100 * score['std']:.1f}"
    return [f"{100 * score['mean']:.1f}{spread}", f"{row['rate']:g}"]


def _agreeing(pairs: list[Results]) -> int:
    return sum(pair["agrees"] for pair in pairs)


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _write_text(path: pathlib.Path, text: str) -> None:
    """Writes a file that is complete or absent."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text + "\n", encoding="utf-8")
    os.replace(beside, path)
