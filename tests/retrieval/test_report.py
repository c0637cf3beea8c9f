"""Every number of a report stands beside its own interval, and nobody else's."""

import json

import numpy as np
import pytest
from absl.testing import flagsaver

from ms_keras.retrieval import flags
from ms_keras.retrieval.class_report import class_lines, class_report
from ms_keras.retrieval.class_scores import confusions, per_class_recall
from ms_keras.retrieval.further_scores import recall_intervals
from ms_keras.retrieval.recall import best_positive_ranks
from ms_keras.retrieval.report import (
    baselines_in,
    baselines_of,
    report_of,
    table,
    with_baselines,
    with_further_scores,
    with_scann,
)
from ms_keras.retrieval.saved_arrays import SavedArrays
from ms_keras.retrieval.scores import score_arrays

KS = (1, 4)


def arrays_of(classes=300, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), 5)
    rows = rng.normal(size=(classes, 16))[labels]
    return SavedArrays(rows + rng.normal(scale=0.7, size=rows.shape), labels)


@pytest.fixture
def hasty():
    """ScaNN that misses a part of the neighbours."""
    pytest.importorskip("scann", reason="ScaNN exists for Linux only")
    with flagsaver.flagsaver(leaves=60, leaves_to_search=3, reorder=20, tolerance=100):
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        yield


def test_recall_by_scann_and_exact_recall_keep_their_own_intervals(hasty):
    arrays = arrays_of()
    exact = report_of(score_arrays(arrays, KS, num_skipped=3), arrays, ["ranking"])
    by_scann = flags.scores_by_scann(arrays, KS, num_skipped=3)
    report = with_scann(exact, by_scann)
    assert report["num_skipped"] == 3
    assert report["recall"] == report["scann"]["recall"]
    assert report["exact_recall"] == exact["recall"]
    assert report["recall"]["1"] < report["exact_recall"]["1"] - 0.02
    intervals = report["intervals"]
    for name in ("recall", "exact_recall"):
        for k in map(str, KS):
            low, high = intervals[name][k]
            assert low < report[name][k] < high
    expected = recall_intervals(best_positive_ranks(*arrays), arrays.labels, KS)
    assert intervals["exact_recall"]["4"] == list(expected[4])
    assert intervals["recall"]["1"] != intervals["exact_recall"]["1"]
    assert report["metrics"] == exact["metrics"]
    # Precision at 1 is Recall@1 by exact search, and its interval is that one's too.
    assert report["metrics"]["precision_at_1"] == report["exact_recall"]["1"]
    assert intervals["precision_at_1"] == intervals["exact_recall"]["1"]


def test_the_table_tells_both_searches_apart(hasty):
    arrays = arrays_of()
    exact = report_of(score_arrays(arrays, KS), arrays)
    report = with_scann(exact, flags.scores_by_scann(arrays, KS))
    told = table(report)
    for title, name in {"ScaNN": "recall", "exact search": "exact_recall"}.items():
        (row,) = [line for line in told.splitlines() if f"trained, by {title}" in line]
        shown = [f"{100 * value:.2f}" for value in report[name].values()]
        assert row.split()[-2:] == shown
        low, high = report["intervals"][name]["4"]
        assert f"{100 * low:.2f} to {100 * high:.2f}" in told
    assert "R@4, exact" in told


def test_baselines_have_intervals_and_come_back_from_a_report():
    one, other = arrays_of(20), arrays_of(20, seed=1)
    scores = {"frozen": score_arrays(other, KS), "pixels": score_arrays(other, (1,))}
    baselines = baselines_of(scores, other.labels)
    report = with_baselines(report_of(score_arrays(one, KS), one), baselines)
    assert set(report["intervals"]) == {"recall", "frozen_recall", "pixels_recall"}
    for name in report["intervals"]:
        for k, (low, high) in report["intervals"][name].items():
            assert low <= report[name][k] <= high
    assert report["intervals"]["frozen_recall"] != report["intervals"]["recall"]
    assert baselines_in(report) == baselines
    # What was written before there were intervals.
    assert baselines_in({"frozen_recall": {"1": 0.5}}) == {
        "frozen_recall": {"1": 0.5},
        "intervals": {},
    }


@pytest.mark.parametrize("with_gallery", [False, True])
def test_classes_are_told_with_names_and_intervals(with_gallery):
    arrays = arrays_of(12)
    if with_gallery:
        arrays = SavedArrays(*arrays[:2], *arrays_of(12, seed=2)[:2])
    ranks = best_positive_ranks(*arrays)
    names = [f"bird {i}" for i in range(12)]
    report = report_of(score_arrays(arrays, KS), arrays, ["classes"], names)
    found = json.loads(json.dumps(report["classes"]))
    assert [(c["class"], c["recall_at_1"]) for c in found["recall"]] == [
        (names[one.label], one.recall) for one in per_class_recall(ranks, arrays.labels)
    ]
    assert [(c["query_class"], c["found_class"]) for c in found["confusions"]] == [
        (names[one.query_class], names[one.found_class]) for one in confusions(*arrays)
    ]
    for one in [*found["recall"], *found["confusions"]]:
        low, high = one["interval"]
        assert 0 <= low < high <= 1
        assert low <= one.get("recall_at_1", one.get("share")) <= high
    assert "bird" in table(report)
    # The ranks of the scores are taken; without them they are computed.
    again = with_further_scores({"intervals": {}}, arrays, ["classes"], names)
    assert again["classes"] == report["classes"]


@pytest.mark.parametrize("kind", ["i8", "U", "S"])
def test_labels_of_any_kind_become_json(kind):
    arrays = arrays_of(6)
    arrays = SavedArrays(arrays.embeddings, arrays.labels.astype(kind))
    found = class_report(arrays, best_positive_ranks(*arrays))
    labels = [one["class"] for one in json.loads(json.dumps(found))["recall"]]
    expected = range(6) if kind == "i8" else map(str, range(6))
    assert sorted(labels) == sorted(expected)


def test_no_classes_are_no_lines():
    assert class_lines(None) == []
    one = {"class": "a", "recall_at_1": 1.0, "interval": [0.5, 1.0], "num_queries": 4}
    lines = class_lines({"recall": [one], "confusions": []})
    assert lines[1].split() == ["100.00", "50.00", "to", "100.00", "a,", "4", "queries"]
