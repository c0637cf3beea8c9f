"""How far two things are apart that took turns."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from scipy import stats

_CONFIDENCE = 0.95


def excess(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float | None]:
    """Returns by how much ours take longer, relative, turn by turn.

    Args:
        ours: Seconds of each turn.
        theirs: Those of the same turns.

    Returns:
        The `mean`, and `low` and `high`, the ends of its 95 % interval by Student's t;
        `None` where there is one turn.

    Raises:
        ValueError: If there are no turns, or not as many of both.
    """
    if not ours or len(ours) != len(theirs):
        raise ValueError(
            f"Expected the same turns of both, one at least; got {len(ours)} and "
            f"{len(theirs)}."
        )
    each = [our / their - 1 for our, their in zip(ours, theirs, strict=True)]
    mean = statistics.mean(each)
    if len(each) == 1:
        return {"mean": mean, "low": None, "high": None}
    half = stats.t.ppf((1 + _CONFIDENCE) / 2, len(each) - 1)
    half *= statistics.stdev(each) / len(each) ** 0.5
    return {"mean": mean, "low": mean - half, "high": mean + half}


def told(found: dict[str, float | None]) -> str:
    """Returns what `excess` found, in percent."""
    if found["low"] is None:
        return f"{found['mean']:+.1%}"
    return f"{found['mean']:+.1%} ({found['low']:+.1%} to {found['high']:+.1%})"
