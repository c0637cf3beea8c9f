"""The page's figures as inline SVG; colours and fonts are the style sheet's."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np

from ms_keras.retrieval.page.pairs import Pairs

_WIDTH, _HEIGHT = 460, 266
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 450, 10, 222  # the plot's sides
_POINTS = 200  # of a curve: more than the screen resolves
_BINS = 60


def recall_curve(ranks: Mapping[str, np.ndarray], ks: Sequence[int], model: str) -> str:
    """Returns Recall@K over K, up to where no query is left, as a figure and legend.

    Args:
        ranks: `[queries]` integers per curve's title, 0 for a query to leave out.
        ks: Where to set marks on the model's curve.
        model: Which curve stands out.
    """
    last = max(2, *ks, *(int(each.max(initial=1)) for each in ranks.values()))
    points = np.unique(np.geomspace(1, last, _POINTS).round().astype(int))
    across = (_RIGHT - _LEFT) / math.log(last)
    parts = [_grid_line(_down(share), f"{share:.0%}") for share in _SHARES]
    parts += [
        _tick(_LEFT + across * math.log(k), f"{k:,}") for k in _powers(last, limit=7)
    ]
    ordered = sorted(ranks, key=lambda name: name == model)  # the model's on top
    for name in ordered:
        kind = "main" if name == model else "other"
        recall = _recall(ranks[name], points)
        path = _path(_LEFT + across * np.log(points), _down(recall))
        parts.append(f'<path class="line {kind}" d="{path}"/>')
    for k, recall in zip(ks, _recall(ranks[model], np.array(ks)), strict=True):
        parts.append(
            f'<circle class="mark" cx="{_LEFT + across * math.log(k):.1f}" '
            f'cy="{_down(recall):.1f}" r="4">'
            f"<title>Recall@{k}: {recall:.1%}</title></circle>"
        )
    kinds = [("main" if name == model else "other", name) for name in reversed(ordered)]
    told = ", ".join(
        f"{recall:.0%} at K = {k}"
        for k, recall in zip(ks, _recall(ranks[model], np.array(ks)), strict=True)
    )
    parts.append(_axis_title("K nearest neighbours, logarithmic"))
    return _legend(kinds) + _svg(f"Recall at K rises with K: {told}", parts)


def similarity_histograms(pairs: Pairs) -> str:
    """Returns how similar images of one class and of different classes are, likewise.

    Returns:
        The figure; empty if there are no pairs of either kind.
    """
    kinds = [("positive", "same class", pairs.positive)]
    kinds += [("negative", "different classes", pairs.negative)]
    kinds = [kind for kind in kinds if len(kind[2])]
    if not kinds:
        return ""
    low = min(float(values.min()) for *_, values in kinds)
    high = max(float(values.max()) for *_, values in kinds)
    # Rounded outwards to tenths, the room that the ticks divide.
    low, high = math.floor(10 * low + 0.01) / 10, math.ceil(10 * high - 0.01) / 10
    high = max(high, low + 0.1)
    edges = np.linspace(low, high, _BINS + 1)
    shares = [np.histogram(v.clip(low, high), edges)[0] / len(v) for *_, v in kinds]
    tallest = max(float(share.max()) for share in shares)
    across = _LEFT + (edges - low) * (_RIGHT - _LEFT) / (high - low)
    parts = [f'<path class="grid" d="M{_LEFT} {_BOTTOM}H{_RIGHT}"/>']
    for value in _tenths(low, high):
        place = _LEFT + (value - low) * (_RIGHT - _LEFT) / (high - low)
        parts.append(_tick(place, f"{value:.1f}".replace("-", "\N{MINUS SIGN}")))
    for (kind, _, _), share in zip(kinds, shares, strict=True):
        heights = _down(np.repeat(share / tallest, 2))
        steps: np.ndarray = np.repeat(across, 2)[1:-1]
        outline = _path(steps, heights)
        area = f"M{_LEFT} {_BOTTOM}L{outline[1:]}V{_BOTTOM}Z"
        parts.append(f'<path class="area {kind}" d="{area}"/>')
        parts.append(f'<path class="line {kind}" d="{outline}"/>')
    means = [(kind, f"{name}, mean {v.mean():.2f}") for kind, name, v in kinds]
    parts.append(_axis_title("cosine similarity of a pair"))
    told = "; ".join(text for _, text in means)
    return _legend(means) + _svg(f"Histograms of similarities: {told}", parts)


_SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def _recall(ranks: np.ndarray, ks: np.ndarray) -> np.ndarray:
    found = np.sort(ranks[ranks > 0])
    return np.asarray(np.searchsorted(found, ks, "right") / max(1, len(found)))


def _down(share: np.ndarray | float) -> np.ndarray:
    """Returns the height of a share of 1 as SVG counts it, from the top."""
    return np.asarray(_BOTTOM - np.asarray(share) * (_BOTTOM - _TOP))


def _powers(last: int, limit: int) -> list[int]:
    """Returns round numbers from 1 to `last` for a logarithmic axis."""
    for base in (2, 10, 100):
        powers = [base**i for i in range(int(math.log(last, base) + 1e-9) + 1)]
        if len(powers) <= limit:
            return powers
    return [1, last]


def _tenths(low: float, high: float) -> np.ndarray:
    step = 1 if high - low <= 0.8 else 2
    tenths = np.arange(round(10 * low), round(10 * high) + 1)
    return tenths[tenths % step == 0] / 10


def _path(across: np.ndarray, down: np.ndarray) -> str:
    points = (f"{x:.1f} {y:.1f}" for x, y in zip(across, down, strict=True))
    return "M" + "L".join(points)


def _grid_line(down: np.ndarray, text: str) -> str:
    return (
        f'<path class="grid" d="M{_LEFT} {down:.1f}H{_RIGHT}"/>'
        f'<text class="left" x="{_LEFT - 8}" y="{down + 4:.1f}">{text}</text>'
    )


def _tick(across: float, text: str) -> str:
    return (
        f'<path class="tick" d="M{across:.1f} {_BOTTOM}v5"/>'
        f'<text class="under" x="{across:.1f}" y="{_BOTTOM + 19}">{text}</text>'
    )


def _axis_title(text: str) -> str:
    middle = (_LEFT + _RIGHT) / 2
    return f'<text class="under title" x="{middle}" y="{_HEIGHT - 4}">{text}</text>'


def _legend(entries: Sequence[tuple[str, str]]) -> str:
    """Returns samples of lines with their names."""
    items = "".join(
        '<li><svg viewBox="0 0 22 4" aria-hidden="true">'
        f'<path class="line {kind}" d="M0 2h22"/></svg> {html.escape(name)}</li>'
        for kind, name in entries
    )
    return f'<ul class="legend">{items}</ul>'


def _svg(told: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{html.escape(told)}">{"".join(parts)}</svg>'
    )
