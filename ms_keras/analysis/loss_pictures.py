"""Pictures of what losses do: their weight curves, and their three similarities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ms_keras.analysis.reactions import PAIRS, SIMILARITIES, Reaction
from ms_keras.analysis.similarity_table import PUBLISHED, Table
from ms_keras.analysis.style import (
    GREY,
    LINE,
    NEGATIVE,
    POSITIVE,
    note_units,
    styled,
    title_of,
)
from ms_keras.analysis.weight_curves import (
    OTHER_NEGATIVES,
    OTHER_POSITIVES,
    WeightCurve,
)

_MOVES = {"S": "S: all pairs", "N": "N: other negatives", "P": "P: other positives"}
_MANY_TURNS = 40  # of a curve, more than wide lines show: the histogram loss's bins
_SHOWN = 0.9  # above, the margin loss would grow out of any picture


@styled()
def curves_picture(curves: dict[str, WeightCurve]) -> Figure:
    """Draws the weight of a pair against its similarity, a panel for each loss.

    Curves are relative to their largest value up to similarity 0.9, which stands above
    the panel.
    """
    columns = min(4, len(curves) + 1)
    rows = math.ceil((len(curves) + 1) / columns)
    figure = Figure(figsize=(1.85 * columns, 1.5 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, (name, curve) in zip(panels.flat, curves.items(), strict=False):
        axes.set_title(title_of(name), pad=14)
        units = [
            weights[curve.similarities <= _SHOWN].max() or 1
            for weights in (curve.positive, curve.negative)
        ]
        axes.plot(curve.similarities, curve.positive / units[0], **LINE["positive"])
        axes.plot(curve.similarities, curve.negative / units[1], **LINE["negative"])
        note_units(axes, *units)
        _rug(axes)
        axes.set(xlim=(-1, 1), ylim=(-0.1, 1.2), xticks=(-1, 0, 1), yticks=(0, 0.5, 1))
    for axes in panels.flat[len(curves) :]:
        axes.set_axis_off()
    panels.flat[len(curves)].legend(handles=_curve_keys(), loc="center", fontsize=7.5)
    figure.supxlabel("cosine similarity of the pair", fontsize=9)
    figure.supylabel("weight of the pair,\nin units of the number above", fontsize=9)
    return figure


@styled()
def reactions_picture(reactions: dict[str, Reaction]) -> Figure:
    """Draws a pair's weight while S, N or P moves alone, a row for each loss.

    Each colour is relative to its largest value in the row.
    """
    halves = 2 if len(reactions) > 1 else 1
    rows = math.ceil((len(reactions) + 1) / halves)  # the last place is the key's
    figure = Figure(figsize=(4.2 * halves, 1.1 * rows + 0.5), layout="constrained")
    widths = ([1, 1, 1, 0.12] * halves)[:-1]
    panels: Any = figure.subplots(
        rows, len(widths), squeeze=False, gridspec_kw={"width_ratios": widths}
    )
    for axes in panels.flat:
        axes.set_axis_off()
    for place, (name, found) in enumerate(reactions.items()):
        half, row = divmod(place, rows)
        line = panels[row, 4 * half : 4 * half + 3]
        is_last = row == rows - 1 or place == len(reactions) - 1
        _reaction_row(line, name, found, is_last)
        if row == 0:
            for axes, which in zip(line, SIMILARITIES, strict=True):
                axes.set_title(_MOVES[which], loc="center", fontweight="normal")
    key = [Line2D([], [], label=f"{pair} pair", **LINE[pair]) for pair in PAIRS[::-1]]
    panels[-1, -2].legend(handles=key, loc="center")
    figure.supxlabel("shift, in cosine similarity", fontsize=9)
    figure.supylabel("weight of the pair,\nrelative to its maximum", fontsize=9)
    return figure


@styled()
def table_picture(table: Table) -> Figure:
    """Draws the table: dots as computed, rings as in the paper."""
    names = [name for name, pair in table if pair == "negative"]
    figure = Figure(
        figsize=(max(0.58 * len(names) + 1.6, 4.2), 2.3), layout="constrained"
    )
    axes = figure.subplots()
    for x, name in enumerate(names):
        for y, share in enumerate(table[name, "negative"]):
            if share:
                axes.plot(x, y, "o", color=POSITIVE, markersize=8, markeredgewidth=0)
            if SIMILARITIES[y] in PUBLISHED.get(name, ""):
                axes.plot(
                    x, y, "o", color=NEGATIVE, markersize=14, markerfacecolor="none"
                )
            if name not in PUBLISHED:
                axes.axvspan(x - 0.5, x + 0.5, color=GREY, alpha=0.08, linewidth=0)
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(2.5, -0.5))
    axes.set_yticks(range(3), ["S  self", "N  to negatives", "P  to positives"])
    axes.set_xticks(
        range(len(names)), [title_of(name) for name in names], rotation=35, ha="right"
    )
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.legend(handles=_table_keys(), loc="outside upper center", ncols=3)
    return figure


def _rug(axes: Axes) -> None:
    for others, colour in ((OTHER_POSITIVES, POSITIVE), (OTHER_NEGATIVES, NEGATIVE)):
        axes.plot(
            others, [-0.06] * len(others), "|", color=colour, markersize=5,
            markeredgewidth=1.2,
        )  # fmt: skip


def _curve_keys() -> list[Line2D]:
    mark: dict[str, Any] = {
        "linestyle": "none",
        "marker": "|",
        "markersize": 6,
        "markeredgewidth": 1.2,
    }
    return [
        Line2D([], [], label="positive pair", **LINE["positive"]),
        Line2D([], [], label="negative pair", **LINE["negative"]),
        Line2D([], [], label="other positives", color=POSITIVE, **mark),
        Line2D([], [], label="other negatives", color=NEGATIVE, **mark),
    ]


def _table_keys() -> list[Line2D]:
    ring: dict[str, Any] = {
        "color": NEGATIVE,
        "markersize": 10,
        "markerfacecolor": "none",
    }
    dot: dict[str, Any] = {"color": POSITIVE, "markersize": 7}
    return [
        Line2D([], [], linestyle="none", marker="o", label="computed", **dot),
        Line2D([], [], linestyle="none", marker="o", label="paper's Table 1", **ring),
        Line2D(
            [], [], linestyle="none", marker="s", color=GREY, alpha=0.25, markersize=9,
            label="not in that table",
        ),
    ]  # fmt: skip


def _turns(curve: np.ndarray) -> int:
    """Returns how often a curve turns visibly from rising to falling or back."""
    slopes = np.sign(np.diff(np.round(curve, 3)))
    slopes = slopes[slopes != 0]
    return int(np.sum(slopes[1:] != slopes[:-1]))


def _reaction_row(line: Any, name: str, found: Reaction, is_last: bool) -> None:
    for pair in PAIRS[::-1]:
        curves = [found.weights[pair, which] for which in SIMILARITIES]
        largest = max(curve.max() for curve in curves) or 1
        for axes, curve in zip(line, curves, strict=True):
            (drawn,) = axes.plot(found.amounts, curve / largest, **LINE[pair])
            if _turns(curve / largest) > _MANY_TURNS:
                drawn.set(linewidth=0.4, linestyle="solid")
    name = title_of(name).replace(" ", "\n")
    line[0].set_ylabel(name, fontweight="bold", fontsize=7.5)
    ends = (found.amounts[0], 0, found.amounts[-1])
    for axes in line:
        axes.set_axis_on()
        axes.set(xlim=ends[::2], ylim=(-0.06, 1.08), xticks=ends, yticks=(0, 1))
        axes.tick_params(labelbottom=is_last, labelleft=axes is line[0])
