"""The ratios that the loss is to reach, size by size."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.loss.contenders import FLOOR, OURS

_SIMILARITY = "tfsim"
_BLOCKS = f"{OURS}-blocks"
_FLOAT = 4  # bytes


def targets_table(sizes: Mapping[str, Mapping[str, Any]], dim: int) -> str:
    """Returns ours over the floor and over the best forms of TensorFlow Similarity.

    The best form is that of the least median time, or of the least memory; the lowest
    of all its forms, and again of those that make unit rows, as ours does.

    Args:
        sizes: Rows of contenders by name, by batch size.
        dim: Length of the embeddings, whose gradient is left out of one column.
    """
    lines = [
        "| batch | over the floor | over TensorFlow Similarity's best | over its best "
        "that normalises | memory over its least | the same in blocks | peak without "
        "the gradient, MB |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for size, rows in sizes.items():
        if not rows.get(OURS, {}).get("turns"):
            continue
        forms = [
            name for name in rows if name.startswith(_SIMILARITY) and rows[name]["ms"]
        ]
        unit = [name for name in forms if name.endswith("-unit")]
        peak, least = rows[OURS]["peak_bytes"], _least_memory(rows, forms)
        blocks = rows.get(_BLOCKS, {}).get("peak_bytes")
        own = None if peak is None else peak - int(size) * dim * _FLOAT
        cells = [
            _over(rows, FLOOR),
            _over(rows, _fastest(rows, forms)),
            _over(rows, _fastest(rows, unit)),
            _ratio(peak, least),
            _ratio(blocks, least),
            "" if own is None else f"{max(own, 0) / 1e6:,.0f}",
        ]
        lines.append(f"| {int(size):,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _fastest(rows: Mapping[str, Any], names: Iterable[str]) -> str:
    return min(names, key=lambda name: rows[name]["ms"], default="")


def _least_memory(rows: Mapping[str, Any], names: Iterable[str]) -> int | None:
    peaks = [rows[name]["peak_bytes"] for name in names]
    return min((peak for peak in peaks if peak), default=None)


def _over(rows: Mapping[str, Any], other: str) -> str:
    """Returns the median over rounds of our time over theirs in the same round."""
    ours, theirs = (
        [turn["median_ms"] for turn in rows.get(name, {}).get("turns", ())]
        for name in (OURS, other)
    )
    ratios = [our / their for our, their in zip(ours, theirs, strict=False)]
    return f"{statistics.median(ratios):.2f}" if ratios else ""


def _ratio(ours: int | None, theirs: int | None) -> str:
    return f"{ours / theirs:.2f}" if ours and theirs else ""
