"""Whether contenders come to the loss and to the gradient that ours come to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.loss.contenders import BOTH, LOSS_ONLY

TOLERANCE = 1e-3  # relative: float32 sums in another order
_TINY = 1e-30  # for what is 0 on both sides


def off_ours(
    same: str, turns: list[dict[str, Any]], ours: list[dict[str, Any]]
) -> dict[str, float] | None:
    """Returns how far a contender is from ours, relative, the furthest of its turns.

    Args:
        same: What has to be the same, as in `Contender`.
        turns: What came of its turns: `loss`, and `gradient`, the norm of it.
        ours: The same of ours.

    Returns:
        The difference of the `loss`, and of the `gradient` where that has to be the
        same; `None` where there is nothing to compare.
    """
    asked = {BOTH: ("loss", "gradient"), LOSS_ONLY: ("loss",)}.get(same, ())
    pairs = list(zip(turns, ours, strict=False))
    if not asked or not pairs:
        return None
    return {name: _furthest(name, pairs) for name in asked}


def disagreements(rows: Mapping[str, Any]) -> list[str]:
    """Returns a sentence for each contender that computes something else than it says.

    Args:
        rows: The contenders' rows at one batch size.
    """
    told = []
    for row in rows.values():
        for name, off in (row.get("off_ours") or {}).items():
            if not off <= TOLERANCE:  # NaN is no agreement
                told.append(f"{row['title']}: its {name} is {off:.1%} off ours")
    return told


def cell(row: Mapping[str, Any]) -> str:
    """Returns what a table says of a row's agreement."""
    off = row.get("off_ours")
    if off is None:
        return row.get("same", "") if row.get("same") not in (BOTH, LOSS_ONLY) else ""
    furthest = max(off.values())
    told = "0" if furthest == 0 else f"{furthest:.0e}"
    return told if "gradient" in off else f"{told}, the loss"


def _furthest(name: str, pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> float:
    off = [
        abs(turn[name] - our[name]) / max(abs(our[name]), _TINY) for turn, our in pairs
    ]
    return float(np.max(off))  # NaN if one is
