"""R@1 against training steps, a line for each method, a panel for each data set."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.ablation.rows import find_row

TITLES = {"cub": "CUB-200-2011", "grocery": "Grocery Store"}

# Okabe and Ito's colours, told apart by all. Rows that share a weighting share a
# colour; mining makes the line solid.
_COLOURS = {
    "ms": "#D55E00",
    "binomial": "#0072B2",
    "lifted": "#009E73",
    "binlifted": "#CC79A7",
    "equal": "#000000",
    "contrastive": "#E69F00",
    "triplet": "#56B4E9",
}
_GREY = "#767676"
_WIDTH, _HEIGHT = 4.6, 3.7  # inches of a panel
_STYLE = {
    "font.size": 8,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "ablation",  # the same results give the same file
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def curves_picture(path: str | os.PathLike[str], results: dict[str, Any]) -> None:
    """Draws the curves: means over seeds, with a band of a standard deviation.

    Args:
        path: Where to write; the ending, `.png` or `.svg`, says in which format.
        results: What `report.collect` returns.
    """
    datasets = results["datasets"]
    with rc_context(_STYLE):
        figure = Figure((_WIDTH * len(datasets), _HEIGHT), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(datasets), squeeze=False)[0]
        for axes, (name, dataset) in zip(panels, datasets.items(), strict=True):
            _draw_panel(axes, TITLES.get(name, name), dataset)
        figure.supxlabel(
            "Solid lines mine pairs as the Multi-Similarity loss does; bands are one "
            "standard deviation over seeds.",
            fontsize=7,
            color=_GREY,
        )
        target = pathlib.Path(path)
        beside = target.with_name(f".{os.getpid()}.{target.name}")
        undated = {"Date": None} if target.suffix == ".svg" else None
        figure.savefig(beside, dpi=200, metadata=undated)
        os.replace(beside, target)


def _draw_panel(axes: Axes, title: str, dataset: dict[str, Any]) -> None:
    labels: list[tuple[float, str, str]] = []
    last_step = 0
    for name, row in dataset["rows"].items():
        if not row["curve"]:
            continue
        colour = _COLOURS[find_row(name).family]
        _draw_row(axes, name, row["curve"], colour)
        end = row["curve"][-1]
        labels.append((100 * end["mean"], name, colour))
        last_step = max(last_step, end["step"])
    if dataset["frozen"]:
        height = 100 * dataset["frozen"]["1"]
        axes.axhline(height, color=_GREY, linewidth=1, linestyle=":", zorder=1)
        labels.append((height, "frozen features", _GREY))
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel("training steps")
    axes.set_ylabel("R@1 on unseen classes, %")
    axes.grid(axis="y", linewidth=0.4, color="#DDDDDD")
    axes.set_axisbelow(True)
    axes.set_xlim(0, last_step or 1)
    _label_ends(axes, labels)


def _draw_row(axes: Axes, name: str, curve: list[dict[str, Any]], colour: str) -> None:
    steps: np.ndarray = np.array([point["step"] for point in curve])
    means = 100 * np.array([point["mean"] for point in curve])
    spread = 100 * np.array([point["std"] or 0.0 for point in curve])
    axes.fill_between(
        steps, means - spread, means + spread, color=colour, alpha=0.13, linewidth=0
    )
    axes.plot(
        steps,
        means,
        color=colour,
        linestyle="-" if find_row(name).mined else (0, (4, 1.6)),
        linewidth=2.2 if name == "MS" else 1.4,
        marker="o",
        markersize=2.5,
    )


def _label_ends(axes: Axes, labels: list[tuple[float, str, str]]) -> None:
    """Writes the names to the right of the lines' ends, moved apart."""
    low, high = axes.get_ylim()
    labels = sorted(labels)
    heights = spread_out([label[0] for label in labels], 0.05 * (high - low))
    for (height, name, colour), moved in zip(labels, heights, strict=True):
        axes.annotate(
            name,
            xy=(1, height),
            xytext=(1.06, moved),
            xycoords=axes.get_yaxis_transform(),
            textcoords=axes.get_yaxis_transform(),
            va="center",
            color=colour,
            fontsize=7.5,
            fontweight="bold" if name == "MS" else "normal",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0, 0.5),
                "color": colour,
                "linewidth": 0.5,
                "shrinkA": 1,
                "shrinkB": 1,
            },
        )
    axes.set_ylim(low, high)


def spread_out(heights: list[float], gap: float) -> list[float]:
    """Moves rising heights apart by a gap, each group staying around its mean.

    Args:
        heights: In rising order.
        gap: Least distance between two of them.
    """
    groups: list[list[float]] = []  # of heights less what those below take
    for number, height in enumerate(heights):
        groups.append([height - number * gap])
        while len(groups) > 1 and np.mean(groups[-2]) > np.mean(groups[-1]):
            last = groups.pop()
            groups[-1] += last
    flat = [float(np.mean(group)) for group in groups for _ in group]
    return [height + number * gap for number, height in enumerate(flat)]
