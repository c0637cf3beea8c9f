"""What the rounds gave, as tables and as a picture."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.loss.agreement import cell
from benchmarks.loss.contenders import FLOOR, OURS
from benchmarks.loss.targets import targets_table

_COLOURS = {
    OURS: "#D55E00",
    FLOOR: "#000000",
    "tfsim-unit": "#0072B2",
    "tfsim-jit-unit": "#56B4E9",
    "pml": "#009E73",
    "loop": "#CC79A7",
}
_NOTE = (
    "Off ours: the larger of the relative differences of the loss and of the norm of "
    "its gradient. TensorFlow Similarity asks for unit rows and takes them as they "
    "are: without a division in the step its gradient is by rows that may leave the "
    "sphere, which has another norm, so that only its loss is compared."
)


def table(result: Mapping[str, Any]) -> str:
    """Returns the tables of Multi-Similarity and of the other losses, if measured."""
    parts = []
    if result["multi_similarity"]:
        parts += [
            targets_table(result["multi_similarity"], result["dim"]),
            _sizes_table(result["multi_similarity"]),
            _NOTE,
        ]
    if result["growth"]:
        from_, to, exponent = result["growth"]
        parts.append(
            f"From {from_:,} to {to:,} rows the time grows with the power "
            f"{exponent:.2f} of the batch."
        )
    if result["others"]:
        parts.append(_others_table(result["others"]))
    return "\n\n".join(parts)


def growth(sizes: Mapping[str, Mapping[str, Any]]) -> tuple[int, int, float] | None:
    """Returns the exponent of our time over the largest factor of 8 or more in size."""
    ours = {
        int(size): rows[OURS]["ms"]
        for size, rows in sizes.items()
        if rows.get(OURS, {}).get("ms")
    }
    if not ours or max(ours) < 8 * 1024:
        return None
    to = max(ours)
    from_ = max(size for size in ours if size * 8 <= to)
    return from_, to, math.log(ours[to] / ours[from_]) / math.log(to / from_)


def picture(path: pathlib.Path, sizes: Mapping[str, Mapping[str, Any]]) -> None:
    """Draws time and memory against the batch size, both logarithmic."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _curves(left, sizes, "ms", 1.0)
    _curves(right, sizes, "peak_bytes", 1e-6)
    left.set_ylabel("milliseconds, loss and gradient")
    right.set_ylabel("peak memory, MB")
    lines = left.get_legend_handles_labels()
    figure.legend(
        *lines, loc="outside lower center", ncols=3, fontsize=8, frameon=False
    )
    for axes in (left, right):
        axes.set_xlabel("batch")
        axes.grid(True, alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _curves(
    axes: Axes, sizes: Mapping[str, Mapping[str, Any]], key: str, factor: float
) -> None:
    for name, colour in _COLOURS.items():
        points = [
            (int(size), factor * rows[name][key])
            for size, rows in sizes.items()
            if rows.get(name, {}).get(key)
        ]
        if points and not (name == FLOOR and key == "peak_bytes"):
            title = next(r[name]["title"] for r in sizes.values() if name in r)
            style = "--" if name == FLOOR else "-"
            axes.plot(*zip(*points, strict=True), style, c=colour, marker=".")
            axes.lines[-1].set_label(title)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")


def _sizes_table(sizes: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        "| batch | | ms, median (range of rounds) | over the floor | over ms_keras | "
        "peak, MB | off ours |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for size, rows in sizes.items():
        for row in rows.values():
            cells = _cells(row, "over_floor", "over_ours")
            lines.append(f"| {int(size):,} | {row['title']} | {cells} |")
    return "\n".join(lines)


def _others_table(others: Mapping[str, Any]) -> str:
    lines = [
        "| loss | batch | | ms, median (range of rounds) | over ms_keras | peak, MB | "
        "off ours |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for loss, sizes in others.items():
        for size, rows in sizes.items():
            for row in rows.values():
                cells = f"{int(size):,} | {row['title']} | {_cells(row, 'over_ours')}"
                lines.append(f"| {loss} | {cells} |")
    return "\n".join(lines)


def _cells(row: Mapping[str, Any], *ratios: str) -> str:
    if row["trouble"]:
        return f"{row['trouble']} |{' |' * len(ratios)} | "
    medians = [turn["median_ms"] for turn in row["turns"]]
    time = _number(row["ms"])
    if len(medians) > 1:
        time += f" ({_number(min(medians))} to {_number(max(medians))})"
    peak = row["peak_bytes"]
    over = ["" if row[key] is None else f"{row[key]:.2f}" for key in ratios]
    memory = "" if peak is None else f"{peak / 1e6:,.0f}"
    return " | ".join([time, *over, memory, cell(row)])


def _number(ms: float) -> str:
    return f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:,.0f}"
