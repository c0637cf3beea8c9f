"""Recall of each class and the pairs confused most, for a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ms_keras.retrieval.class_scores import confusions, per_class_recall
from ms_keras.retrieval.saved_arrays import SavedArrays
from ms_keras.retrieval.wilson import wilson_interval

_SHOWN = 5  # of each kind, as lines


def class_report(
    arrays: SavedArrays, ranks: np.ndarray, class_names: Sequence[str] = ()
) -> dict[str, list[dict[str, Any]]]:
    """Returns how well classes are found, in plain types.

    The intervals are Wilson's, of 95 %. They tell what other images of the same class
    might give: drawing classes anew, as for other scores, says nothing about one.

    Args:
        arrays: Embeddings and labels.
        ranks: `[queries]` of `best_positive_ranks`.
        class_names: A name per class id. Defaults to none: labels are names.

    Returns:
        As `recall`, for each class with something to find, worst first, `class`,
        `recall_at_1`, `interval` and `num_queries`; as `confusions`, for the 20 most
        frequent pairs, `query_class`, `found_class`, `count`, `share` (of the queries
        of the class) and `interval`.

    Raises:
        ValueError: As `confusions`.
    """

    def name(label: int | str | bytes) -> int | str:
        if isinstance(label, bytes):
            return label.decode(errors="replace")
        return class_names[int(label)] if class_names else label

    return {
        "recall": [
            {
                "class": name(one.label),
                "recall_at_1": one.recall,
                "interval": list(wilson_interval(one.recall, one.num_queries)),
                "num_queries": one.num_queries,
            }
            for one in per_class_recall(ranks, arrays.labels)
        ],
        "confusions": [
            {
                "query_class": name(one.query_class),
                "found_class": name(one.found_class),
                "count": one.count,
                "share": one.share,
                "interval": list(wilson_interval(one.share, one.count / one.share)),
            }
            for one in confusions(*arrays)
        ],
    }


def class_lines(classes: Mapping[str, Sequence[Mapping[str, Any]]] | None) -> list[str]:
    """Returns the worst classes and the pairs confused most, as lines of text.

    Args:
        classes: Of `class_report`, or `None` for no lines.
    """
    if not classes:
        return []
    lines = [f"R@1 of the worst of {len(classes['recall'])} classes:"]
    for one in classes["recall"][:_SHOWN]:
        share = _percent(one["recall_at_1"], one["interval"])
        lines.append(f"{share}  {one['class']}, {one['num_queries']} queries")
    if classes["confusions"]:
        lines.append("Classes taken for others most often, share of their queries:")
    for one in classes["confusions"][:_SHOWN]:
        share = _percent(one["share"], one["interval"])
        lines.append(f"{share}  {one['query_class']} -> {one['found_class']}")
    return lines


def _percent(share: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{100 * share:8.2f}  {100 * low:6.2f} to {100 * high:6.2f}"
