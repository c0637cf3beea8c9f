"""Pictures of embeddings' pairs: their similarities, and what a loss keeps of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ms_keras.analysis.embedding_pairs import (
    EDGES,
    AnchorPairs,
    PairCounts,
    densities,
)
from ms_keras.analysis.style import GREY, NEGATIVE, POSITIVE, styled

_BINS = 25
_PANELS = (
    ("kept_positives", "kept positives per anchor", POSITIVE),
    ("kept_negatives", "kept negatives per anchor", NEGATIVE),
    ("positive_weight", "total weight of positives", POSITIVE),
    ("negative_weight", "total weight of negatives", NEGATIVE),
)


@styled()
def similarities_picture(states: dict[str, PairCounts]) -> Figure:
    """Draws densities of similarity, a panel for each state."""
    figure = Figure(figsize=(4.8, 1.6 * len(states) + 0.8), layout="constrained")
    panels: Any = figure.subplots(len(states), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (state, counts) in zip(panels, states.items(), strict=True):
        for kind, colour, line in (
            ("positive", POSITIVE, "solid"),
            ("negative", NEGATIVE, "dashed"),
        ):
            pairs = getattr(counts, kind)
            style = {"color": colour, "linestyle": line}
            axes.stairs(
                densities(pairs), EDGES, linewidth=1.4,
                label=f"{kind} pairs ({pairs.sum():,})", **style,
            )  # fmt: skip
            axes.stairs(densities(pairs), EDGES, fill=True, color=colour, alpha=0.2)
        if len(states) > 1:
            axes.set_title(state)
        axes.set(xlim=_seen(states), ylim=(0, None), ylabel="density")
    panels[-1].set_xlabel("cosine similarity")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


@styled()
def pairs_picture(states: dict[str, AnchorPairs]) -> Figure:
    """Draws how anchors spread over kept pairs and total weights, before and after."""
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    panels: Any = figure.subplots(2, 2)
    for axes in panels[:, 0]:
        axes.set_ylabel("share of anchors")
    for axes, (field, label, colour) in zip(panels.flat, _PANELS, strict=True):
        edges = _edges([getattr(pairs, field) for pairs in states.values()])
        last = list(states)[-1]
        for state, pairs in states.items():
            _shares(axes, getattr(pairs, field), edges, state, state == last, colour)
        axes.set(xlabel=label, ylim=(0, None))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        # Above the panel, where it hides nothing.
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), borderpad=0.2, handlelength=1.4
        )
    return figure


def _shares(
    axes: Axes,
    values: np.ndarray,
    edges: np.ndarray,
    state: str,
    in_front: bool,
    colour: str,
) -> None:
    shares = np.histogram(values, edges)[0] / len(values)
    look: dict[str, Any] = {"color": GREY, "alpha": 0.45, "fill": True}
    if in_front:
        look = {"color": colour, "linewidth": 1.6}
    axes.stairs(shares, edges, label=f"{state}, mean {values.mean():.3g}", **look)


def _edges(values: list[np.ndarray]) -> np.ndarray:
    """Returns the borders of bins: around each whole number, if these are few."""
    everything = np.concatenate(values)
    largest = everything.max()
    if everything.dtype.kind == "i":
        step = max(1, -(-(largest + 1) // _BINS))
        return np.arange(0, largest + step + 1, step) - 0.5
    return np.linspace(0, largest or 1, _BINS + 1)


def _seen(states: dict[str, PairCounts]) -> tuple[float, float]:
    """Returns the range of similarities that any pair has."""
    filled = sum(positive + negative for positive, negative in states.values()) > 0
    bins = np.flatnonzero(filled)
    return float(EDGES[bins[0]]), float(EDGES[bins[-1] + 1])
