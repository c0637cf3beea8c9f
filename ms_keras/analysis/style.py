"""How the pictures look: for print, and told apart without colours."""

from __future__ import annotations

from typing import Any

import matplotlib
from matplotlib.axes import Axes

# Of Okabe and Ito, whose colours differ for all kinds of colour vision.
POSITIVE, NEGATIVE, GREY = "#0072b2", "#d55e00", "#8c8c8c"
SOLID, DASHED = "solid", (0, (4, 1.5))
LINE: dict[str, Any] = {
    "positive": {"color": POSITIVE, "linestyle": SOLID},
    "negative": {"color": NEGATIVE, "linestyle": DASHED},
}

TITLES = {
    "contrastive": "Contrastive",
    "triplet": "Triplet",
    "lifted_structure": "Lifted structure",
    "lifted_star": "Lifted*",
    "n_pairs": "N-pairs",
    "nca": "NCA",
    "histogram": "Histogram",
    "binomial_deviance": "Binomial deviance",
    "bin_lifted": "BinLifted",
    "margin": "Margin",
    "multi_similarity": "Multi-Similarity",
}

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.4,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "figure.dpi": 200,
}


def styled() -> Any:
    """Returns a decorator, or context, in which figures get this style."""
    return matplotlib.rc_context(_STYLE)


def title_of(name: str) -> str:
    """Returns how a loss is called in a picture."""
    return TITLES.get(name, name.replace("_", " "))


def number(value: float) -> str:
    """Returns a number with two significant digits, without an exponent."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def note_units(axes: Axes, positive: float, negative: float) -> None:
    """Writes the weights that the curves are relative to over the panel."""
    for value, x, colour, sign in (
        (positive, 0.0, POSITIVE, "+"),
        (negative, 0.42, NEGATIVE, "\N{MINUS SIGN}"),
    ):
        axes.text(
            x, 1.03, f"{sign} {number(value)}", transform=axes.transAxes, color=colour,
            fontsize=7,
        )  # fmt: skip
