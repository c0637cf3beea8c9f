"""Tuning ScaNN: the cheapest that is enough, and honesty about what is not."""

import json

import numpy as np
import pytest

from ms_keras.retrieval.scann_report import ExactCheck, approximate_recall
from ms_keras.retrieval.scann_search import ScannSearcher
from ms_keras.retrieval.scann_settings import ScannSettings
from ms_keras.retrieval.scann_tuning import TuningTarget, tune, tuning_candidates

pytest.importorskip("scann")


def hard_rows(classes=400, per_class=5, dim=16):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), per_class)
    rows = rng.normal(size=(classes, dim))[labels]
    return rows + rng.normal(scale=0.7, size=rows.shape), labels


def quiet(line):
    """Takes a line and does nothing."""


@pytest.fixture
def builds(monkeypatch):
    """The settings of each index that is built."""
    built = []
    index = ScannSearcher.index

    def counted(self, gallery):
        index(self, gallery)
        built.append(self.settings)
        return self

    monkeypatch.setattr(ScannSearcher, "index", counted)
    return built


def test_the_cheapest_that_is_enough_is_chosen_and_holds_on_other_queries(builds):
    rows, labels = hard_rows()
    lines = []
    candidates = [
        ScannSettings(40, leaves, reorder)
        for leaves in (40, 20, 2)
        for reorder in (400, 12)
    ]
    target = TuningTarget(overlap=0.95, difference=0.02)
    tuned = tune(rows, labels, None, None, candidates, target, lines.append)
    enough = [trial for trial in tuned.trials if trial.is_enough]
    assert tuned.is_met
    cheapest = min(enough, key=lambda trial: trial.microseconds)
    assert tuned.settings == cheapest.settings == tuned.held_out.settings
    for trial in tuned.trials:
        is_enough = trial.overlap >= 0.95 and abs(trial.difference) <= 0.02
        assert trial.is_enough == is_enough
    assert tuned.held_out.overlap > 0.9
    # One index for all candidates, and the one of the report.
    assert len(builds) == 2
    assert len(lines) == len(tuned.trials) + 1
    # From little to much, so that what need not be tried is not.
    tried = [(t.settings.leaves_to_search, t.settings.reorder) for t in tuned.trials]
    assert tried == sorted(tried)
    assert tried[0] == (2, 12)


def test_measured_accuracy_is_that_of_the_report():
    rows, labels = hard_rows()
    settings = ScannSettings(0, 0, 12, dimensions_per_block=4)  # built the same twice
    target = TuningTarget(k=8, overlap=0, difference=1, sample=4000)
    tuned = tune(rows, labels, None, None, [settings], target, quiet)
    check = ExactCheck(sample=2000, tolerance=1)
    report = approximate_recall(rows, labels, (1, 8), settings=settings, check=check)
    # The halves together are all queries.
    halves = tuned.trials[0], tuned.held_out
    overlap = np.mean([half.overlap for half in halves])
    difference = np.mean([half.difference for half in halves])
    assert overlap == pytest.approx(report.overlap, abs=0.01)
    assert difference == pytest.approx(report.difference[1].value, abs=0.01)


def test_what_looks_at_more_than_enough_is_not_tried():
    rows, labels = hard_rows(100)
    target = TuningTarget(overlap=0, difference=1)
    candidates = tuning_candidates(len(rows), 16, 10)
    tuned = tune(rows, labels, None, None, candidates, target, quiet)
    indices = {(bool(t.settings.leaves), t.settings.reorder > 0) for t in tuned.trials}
    assert len(tuned.trials) == len(indices) == 3  # the first of each index


def test_more_candidates_are_not_tried_where_the_leaves_have_no_more():
    rows, labels = hard_rows()
    candidates = [
        ScannSettings(40, leaves, reorder)
        for leaves in (1, 40)
        for reorder in (20, 400, 800, 1200, 1600)
    ]
    target = TuningTarget(overlap=1.0, difference=0)
    trials = tune(rows, labels, None, None, candidates, target, quiet).trials
    # A leaf of 50 rows on average has no more than 400.
    reorders = [t.settings.reorder for t in trials if t.settings.leaves_to_search == 1]
    assert reorders == [20, 400, 800]
    everything = [t for t in trials if t.settings.leaves_to_search == 40]
    assert everything  # another number of leaves is tried again


def test_where_none_is_enough_the_best_is_returned_and_called_so():
    rows, labels = hard_rows()
    lines = []
    candidates = [ScannSettings(40, 1, 12), ScannSettings(40, 4, 100)]
    target = TuningTarget(overlap=1.0)
    tuned = tune(rows, labels, None, None, candidates, target, lines.append)
    assert not tuned.is_met
    assert tuned.settings == candidates[1]
    assert max(trial.overlap for trial in tuned.trials) == tuned.trials[1].overlap
    assert "none is enough" in lines[-1]


def test_the_candidates_end_with_brute_force_which_is_always_enough():
    for count in (300, 100_000):
        candidates = tuning_candidates(count, 16, 100)
        assert candidates[-1] == ScannSettings(0, 0, 0)
        assert all(one.reorder >= 200 for one in candidates[:-1])
    rows, labels = hard_rows(60)
    target = TuningTarget(overlap=1.0, difference=0)
    tuned = tune(rows, labels, None, None, [candidates[-1]], target, quiet)
    assert tuned.is_met
    assert tuned.held_out.overlap == 1


def test_a_gallery_is_searched_by_other_queries():
    rows, labels = hard_rows()
    queries, query_labels = rows[::5], labels[::5]
    target = TuningTarget(overlap=0.9, difference=0.05)
    tuned = tune(
        queries,
        query_labels,
        rows.astype("f2"),
        labels,
        [ScannSettings(40, 40, 200)],
        target,
        quiet,
    )
    assert tuned.is_met


def test_the_choice_is_told_as_json():
    rows, labels = hard_rows(100)
    target = TuningTarget(sample=50)
    tuned = tune(rows, labels, None, None, None, target, quiet)
    content = json.loads(json.dumps(tuned.as_json(), allow_nan=False))
    assert ScannSettings.from_json(content["settings"]) == tuned.settings
    assert len(content["trials"]) == len(tuned.trials)
    assert content["held_out"]["overlap"] == tuned.held_out.overlap


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"candidates": []}, "no candidates"),
        ({"labels": [0, 0, 1]}, "3 labels"),
        ({"labels": [0, 1, 2, 3]}, "None of the 4 queries"),
        ({"embeddings": np.full((4, 2), np.nan)}, "must be finite"),
        ({"gallery": np.eye(3), "gallery_labels": [0, 1, 1]}, "same dim"),
        ({"gallery": np.eye(2)}, "gallery_labels=None"),
        (
            {"labels": [0, 1, 2, 3], "gallery": np.eye(2), "gallery_labels": [0, 0]},
            "two queries with a positive.*got 1",
        ),
    ],
)
def test_bad_input_is_refused(arguments, message):
    rows = np.array([[0, 1], [0.1, 1], [1, 0], [1, 0.1]])
    arguments = {"embeddings": rows, "labels": [0, 0, 1, 1], **arguments}
    with pytest.raises(ValueError, match=message):
        tune(**arguments, progress=quiet)


@pytest.mark.parametrize(
    "numbers", [{"k": 0}, {"overlap": 1.1}, {"difference": -1.0}, {"sample": 1}]
)
def test_a_target_that_cannot_be_is_refused(numbers):
    with pytest.raises(ValueError, match=r"1 or more|target needs"):
        TuningTarget(**numbers)
