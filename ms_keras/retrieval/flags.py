"""Flags of scoring: how neighbours are found, and what else is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from ms_keras.retrieval.further_scores import recall_intervals
from ms_keras.retrieval.report import KINDS, as_json, intervals_as_json
from ms_keras.retrieval.saved_arrays import SavedArrays
from ms_keras.retrieval.scann_report import ExactCheck, approximate_recall
from ms_keras.retrieval.scann_settings import ScannSettings, choose_settings
from ms_keras.retrieval.scann_tuning import TuningTarget, tune

FLAGS = flags.FLAGS
_SETTINGS = ("leaves", "leaves_to_search", "reorder")
_SCANN_ONLY = (*_SETTINGS, "exact_queries", "target", "tolerance", "tune")

flags.DEFINE_enum(
    "search",
    "exact",
    ["exact", "scann"],
    "How neighbours are found. scann is approximate, and tells by exact search of a "
    "sample of queries how far its recall is off.",
)
flags.DEFINE_float(
    "tolerance",
    0.1,
    "scann: points of Recall@K that it may be off before there is a warning.",
    lower_bound=0,
)
flags.DEFINE_integer(
    "exact_queries", 1000, "scann: queries to compare it with exact search on.", 1
)
flags.DEFINE_integer("leaves", None, "scann: partitions; unset: by size.", 0)
flags.DEFINE_integer(
    "leaves_to_search", None, "scann: partitions searched; unset: by size.", 0
)
flags.DEFINE_integer(
    "reorder", None, "scann: candidates compared exactly; unset: by size.", 0
)
flags.DEFINE_bool(
    "tune",
    False,
    "scann: find the cheapest setting within --tolerance that finds the --target share "
    "of the nearest.",
)
flags.DEFINE_float(
    "target", 0.99, "--tune: share of the nearest neighbours to find.", 0, 1
)
flags.DEFINE_list(
    "metrics",
    ["ranking"],
    "Scores beside Recall@K: ranking (precision at 1, R-precision, MAP@R), clustering "
    "(NMI and AMI by k-means; slow with thousands of classes), classes (recall of each "
    "class and the pairs confused most). Empty: none. They are exact, so that with "
    "--embeddings and --search=scann there are none unless given.",
)
flags.DEFINE_string(
    "report",
    "",
    "Folder for index.html: scores, classes and every query with what it finds, to be "
    "looked through in a browser.",
)


def check_flags() -> None:
    """Raises ValueError unless the flags fit each other; needs no data."""
    given = [f"--{name}" for name in _SCANN_ONLY if FLAGS[name].present]
    if FLAGS.search == "exact" and given:
        raise ValueError(
            f"{', '.join(given)} says how ScaNN searches, but --search=exact. Add "
            "--search=scann, or drop the former."
        )
    fixed = [f"--{name}" for name in _SETTINGS if FLAGS[name].present]
    if FLAGS.tune and fixed:
        raise ValueError(
            f"--tune chooses what {', '.join(fixed)} would fix. Drop one of the two."
        )
    unknown = [kind for kind in FLAGS.metrics if kind not in KINDS]
    if unknown:
        raise ValueError(
            f"--metrics must be among {','.join(KINDS)}; got {','.join(unknown)}."
        )


def scores_by_scann(
    arrays: SavedArrays, ks: Sequence[int], num_skipped: int = 0
) -> dict[str, Any]:
    """Scores embeddings by ScaNN as the flags say, and holds it against exact search.

    Prints how it did, and for --tune a line per trial.

    Args:
        arrays: The embeddings with their labels.
        ks: The K of Recall@K.
        num_skipped: Images left out because they cannot be read. Defaults to `0`.

    Returns:
        A report whose `recall` and its intervals are ScaNN's, with all about its error
        as `scann`.

    Raises:
        ValueError: As `approximate_recall`, or if settings are out of range.
    """
    sides = arrays.embeddings, arrays.labels, arrays.gallery, arrays.gallery_labels
    tolerance = FLAGS.tolerance / 100
    told: dict[str, Any] = {}
    if FLAGS.tune:
        target = TuningTarget(max(ks), FLAGS.target, tolerance)
        tuned = tune(*sides, target=target, progress=_say)
        settings = tuned.settings
        told["tuned"] = tuned.as_json()
    else:
        settings = _settings(sides[0] if sides[2] is None else sides[2], max(ks))
    found = approximate_recall(
        sides[0],
        sides[1],
        ks,
        *sides[2:],
        settings,
        ExactCheck(FLAGS.exact_queries, tolerance=tolerance),
    )
    _say("\n".join(found.lines()) + "\n")
    intervals = intervals_as_json(recall_intervals(found.ranks, arrays.labels, ks))
    return {
        "recall": as_json(found.recall),
        "num_queries": found.num_queries,
        "num_without_positive": found.num_without_positive,
        "num_gallery": found.num_gallery,
        "num_skipped": num_skipped,
        "intervals": {"recall": intervals},
        "scann": {**found.as_json(), "intervals": intervals, **told},
    }


def _settings(gallery: np.ndarray, k: int) -> ScannSettings:
    count, dim = np.shape(gallery)
    given = {name: FLAGS[name].value for name in _SETTINGS}
    return choose_settings(count, dim, k, **given)


def _say(text: str) -> None:
    print(text, flush=True)
