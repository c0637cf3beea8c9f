"""ScaNN's report against a naive recomputation, and its intervals by simulation."""

import json
import math
import warnings

import numpy as np
import pytest

import ms_keras
from ms_keras.retrieval import scann_report
from ms_keras.retrieval.scann_report import (
    ExactCheck,
    approximate_recall,
    difference_interval,
    share_interval,
)
from ms_keras.retrieval.scann_search import ScannSearcher
from ms_keras.retrieval.scann_settings import ScannSettings

pytest.importorskip("scann")

HASTY = ScannSettings(60, 3, 20)
KS = (1, 2, 4, 8)


def hard_rows(classes=300, per_class=5, dim=16, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    rows = rng.normal(size=(classes, dim))[labels]
    return rows + rng.normal(scale=0.7, size=rows.shape), labels


def naive_hits(found, labels, gallery_labels, k):
    return np.array(
        [
            any(j >= 0 and gallery_labels[j] == label for j in indices[:k])
            for indices, label in zip(found, labels, strict=True)
        ]
    )


def naive_nearest(queries, gallery, own, k):
    queries, gallery = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (queries, gallery)
    )
    cosines = queries @ gallery.T
    if own is not None:
        cosines[np.arange(len(own)), own] = -2
    return np.argsort(-cosines, axis=1)[:, :k]


@pytest.mark.parametrize("alone", [True, False])
def test_the_numbers_are_those_of_a_naive_recomputation(alone, monkeypatch):
    answers = []

    class Overheard(ScannSearcher):
        def search(self, *arguments):
            answers.append(super().search(*arguments))
            return answers[-1]

    monkeypatch.setattr(scann_report, "ScannSearcher", Overheard)
    rows, labels = hard_rows()
    if alone:
        others, gallery, gallery_labels = {}, rows, labels
        own = np.arange(len(rows))
    else:
        gallery, gallery_labels = hard_rows()[0][::-1] * 2.0, labels[::-1]
        gallery = gallery + np.random.default_rng(1).normal(size=gallery.shape)
        others = {"gallery": gallery, "gallery_labels": gallery_labels}
        own = None
    with pytest.warns(UserWarning, match="ScaNN's Recall@"):
        report = approximate_recall(
            rows, labels, KS, **others, settings=HASTY, check=ExactCheck(sample=1500)
        )
    found = answers[0].indices  # what is built a second time is not the same
    nearest = naive_nearest(rows, gallery, own, 8)
    for k in KS:
        ours = naive_hits(found, labels, gallery_labels, k).mean()
        exact = naive_hits(nearest, labels, gallery_labels, k).mean()
        assert report.recall[k] == pytest.approx(ours, abs=1e-9)
        assert report.exact[k].value == pytest.approx(exact, abs=1e-9)
        assert report.exact[k].low == report.exact[k].high  # nobody left to ask
        off = report.difference[k]
        assert off.value == pytest.approx(report.recall[k] - exact, abs=1e-9)
    shares = [len({*a[:8]} & {*b}) / 8 for a, b in zip(found, nearest, strict=True)]
    assert report.overlap == pytest.approx(np.mean(shares), abs=1e-9)
    assert report.num_gallery == len(gallery) - alone
    assert (report.num_queries, report.num_sample) == (1500, 1500)
    assert report.settings == HASTY
    assert report.build_seconds > 0
    assert report.query_seconds > 0


def test_brute_force_agrees_with_recall_at_k_and_does_not_warn():
    rows, labels = hard_rows()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = approximate_recall(rows, labels, KS)
    assert report.settings.is_brute_force
    assert report.recall == ms_keras.recall_at_k(rows, labels, KS)
    assert report.num_sample == 1000
    assert report.overlap == 1
    assert not report.is_off
    for k in KS:
        assert report.difference[k].value == 0
        assert report.difference[k].low < 0 < report.difference[k].high
        assert report.exact[k].low < report.recall[k] < report.exact[k].high


def test_queries_without_a_positive_are_left_out():
    rows, labels = hard_rows(100)
    labels = labels.copy()
    labels[::5] = 1000 + np.arange(100)  # one of each class is on its own
    report = approximate_recall(rows, labels, (1,), check=ExactCheck(sample=10_000))
    with pytest.warns(UserWarning, match="100 of 500"):
        expected = ms_keras.recall_at_k(rows, labels, (1,))
    assert report.recall == expected
    assert (report.num_without_positive, report.num_sample) == (100, 400)


@pytest.mark.parametrize("kind", ["one point", "zeros"])
def test_a_collapsed_tower_scores_nothing(kind):
    row = np.random.default_rng(0).normal(size=(1, 16)) * (kind != "zeros")
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(60), 5))
    report = approximate_recall(np.tile(row, (300, 1)), labels, KS)
    assert all(report.recall[k] <= 0.05 for k in KS)
    assert all(report.exact[k].value <= 0.05 for k in KS)


def test_classes_of_one_point_each_score_everything():
    labels = np.repeat(np.arange(16), 20)  # more of a class than are asked for
    report = approximate_recall(np.eye(16)[labels], labels, KS)
    assert set(report.recall.values()) == {1.0}


def test_one_class_is_always_found():
    rows, _ = hard_rows(20)
    report = approximate_recall(rows, np.zeros(100, int), (1, 200))
    assert report.recall == {1: 1.0, 200: 1.0}


def test_two_rows_are_enough():
    report = approximate_recall(np.eye(2), ["a", "a"], (1, 8))
    assert report.recall == {1: 1.0, 8: 1.0}
    assert report.num_gallery == 1


def test_half_precision_is_taken():
    rows, labels = hard_rows()
    half = rows.astype("f2")
    report = approximate_recall(half, labels, (1,))
    assert report.recall == approximate_recall(half.astype("f8"), labels, (1,)).recall


def test_the_warning_names_the_difference_and_what_to_raise():
    rows, labels = hard_rows()
    message = "off by -.* points on 1000 .*Raise leaves_to_search: 6 instead of 3.*tune"
    with pytest.warns(UserWarning, match=message):
        report = approximate_recall(rows, labels, (1, 8), settings=HASTY)
    assert report.is_off
    hashed = ScannSettings(0, 0, 9, dimensions_per_block=8)
    with pytest.warns(UserWarning, match="Raise reorder: 18 instead of 9"):
        approximate_recall(rows, labels, (1, 8), settings=hashed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lenient = ExactCheck(tolerance=1.0)
        approximate_recall(rows, labels, (1, 8), settings=HASTY, check=lenient)


def test_another_seed_asks_other_queries():
    rows, labels = hard_rows()
    values = set()
    for seed in (0, 0, 1):
        check = ExactCheck(sample=200, seed=seed)
        values.add(approximate_recall(rows, labels, (1,), check=check).exact[1].value)
    assert len(values) == 2


def test_the_report_is_told_as_json_and_as_lines():
    rows, labels = hard_rows()
    report = approximate_recall(rows, labels, KS)
    content = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert content["recall"] == {str(k): report.recall[k] for k in KS}
    assert content["exact"]["4"] == report.exact[4]._asdict()
    assert content["settings"] == ScannSettings(0, 0, 0).as_json()
    assert content["is_off"] is False
    lines = report.lines()
    assert len(lines) == 1 + len(KS) + 3
    first = report.exact[1]
    for number in (report.recall[1], first.value, first.low, first.high):
        assert f"{100 * number:.2f}" in lines[1]
    assert lines[-1] == "settings: brute force"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embeddings": np.zeros((0, 2))}, "non-empty"),
        ({"embeddings": np.full((4, 2), np.nan)}, "embeddings must be finite"),
        ({"labels": [0, 0, 1]}, "3 labels"),
        ({"labels": [0, 1, 2, 3]}, "None of the 4 queries"),
        ({"embeddings": np.ones((1, 2)), "labels": [0]}, "None of the 1 queries"),
        ({"ks": ()}, "whole numbers"),
        ({"gallery": np.eye(2)}, "gallery_labels=None"),
        ({"gallery": np.eye(3), "gallery_labels": [0, 1, 2]}, "same dim"),
        ({"gallery": np.eye(2), "gallery_labels": [0]}, "gallery and their labels"),
        ({"gallery": np.eye(2), "gallery_labels": [7, 8]}, "None of the 4 queries"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    rows = np.array([[0, 1], [0.1, 1], [1, 0], [1, 0.1]])
    arguments = {"embeddings": rows, "labels": [0, 0, 1, 1], **arguments}
    with pytest.raises(ValueError, match=message):
        approximate_recall(**arguments)


@pytest.mark.parametrize("numbers", [{"sample": 0}, {"tolerance": -1.0}])
def test_a_check_of_nothing_is_refused(numbers):
    with pytest.raises(ValueError, match="sample of 1 or more and a tolerance"):
        ExactCheck(**numbers)


def test_the_interval_of_a_share_is_wilsons():
    # Newcombe, Statistics in Medicine 17, 1998, table I: 81 of 263, 15 of 148, 0 of 20.
    for hits, size, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
    ):
        found = share_interval(np.arange(size) < hits, 10**9)
        assert found == pytest.approx((hits / size, low, high), abs=6e-5)


@pytest.mark.parametrize("share", [0.5, 0.97])
@pytest.mark.parametrize("size", [100, 500])
def test_the_interval_of_a_share_covers_it_95_times_of_100(share, size):
    rng = np.random.default_rng(0)
    population = np.arange(800) < 800 * share
    covered = 0
    for _ in range(1000):
        low, high = share_interval(rng.choice(population, size, False), 800)[1:]
        covered += low <= population.mean() <= high
    assert 925 <= covered <= 985


@pytest.mark.parametrize("size", [200, 600])
def test_the_interval_of_a_difference_covers_it_95_times_of_100(size):
    rng = np.random.default_rng(0)
    exact = rng.random(900) < 0.7
    ours = np.where(rng.random(900) < 0.06, ~exact, exact)
    expected = ours.mean() - exact.mean()
    covered = 0
    for _ in range(1000):
        chosen = rng.choice(900, size, False)
        _, low, high = difference_interval(ours[chosen], exact[chosen], 900)
        covered += low <= expected <= high
    assert 925 <= covered <= 990


def test_the_interval_of_a_difference_of_a_hand_made_example():
    # 3 pairs for ours, 8 against, 89 alike; half a pair more in each of four cells.
    ours = np.arange(100) < 3
    exact = (np.arange(100) >= 3) & (np.arange(100) < 11)
    found = difference_interval(ours, exact, 10**9)
    gained, lost, size = 3.5, 8.5, 102
    centre = (gained - lost) / size
    error = math.sqrt((gained + lost) / size - centre**2) / math.sqrt(size)
    expected = (-0.05, centre - 1.96 * error, centre + 1.96 * error)
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_sample_without_a_difference_still_leaves_doubt():
    hits = np.ones(50, bool)
    found = difference_interval(hits, hits, 10_000)
    assert found.low < 0 < found.high
    assert difference_interval(hits, hits, 50) == (0, 0, 0)
