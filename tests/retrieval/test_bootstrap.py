"""Intervals against a naive loop, and how often they hold the truth."""

import tracemalloc

import numpy as np
import pytest

from ms_keras.retrieval.bootstrap import bootstrap_interval, bootstrap_interval_of
from ms_keras.retrieval.clustering import agreement


def naive_interval(values, classes, resamples, seed):
    """Returns the percentiles of means over classes drawn one by one."""
    rng = np.random.default_rng(seed)
    names = sorted(set(np.asarray(classes)[~np.isnan(values)].tolist()))
    means = []
    for _ in range(resamples):
        drawn = []
        for _ in names:
            name = names[rng.integers(len(names))]
            drawn.extend(
                value
                for value, own in zip(values, classes, strict=True)
                if own == name and not np.isnan(value)
            )
        means.append(sum(drawn) / len(drawn))
    return np.percentile(means, [2.5, 97.5])


def hits_of_classes(rng, classes, per_class):
    """Returns hits whose classes differ much in how easy they are; 0.5 in the mean."""
    easy = rng.beta(0.5, 0.5, classes)
    return rng.random((classes, per_class)) < easy[:, None]


def test_the_interval_is_that_of_a_naive_loop():
    rng = np.random.default_rng(0)
    classes = rng.choice(["ant", "bee", "cow", "dog", "elk", "fox", "gnu"], 60)
    values = rng.random(60) + (classes == "bee") + (classes == "gnu")
    values[[3, 8]], values[classes == "fox"] = np.nan, np.nan
    found = bootstrap_interval(values, classes, resamples=20_000)
    expected = naive_interval(values, classes, resamples=2_000, seed=1)
    assert found.low < np.nanmean(values) < found.high
    np.testing.assert_allclose(found, expected, atol=0.04)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    classes, held, queries_held = np.repeat(np.arange(40), 10), 0, 0
    for _ in range(300):
        hits = hits_of_classes(rng, 40, 10).ravel()
        low, high = bootstrap_interval(hits, classes, resamples=300)
        held += low <= 0.5 <= high
        # As if queries were independent.
        spread = 1.96 * np.sqrt(hits.mean() * (1 - hits.mean()) / len(hits))
        queries_held += abs(hits.mean() - 0.5) <= spread
    assert 0.90 <= held / 300 <= 0.98
    assert queries_held / 300 < 0.75


def test_values_that_are_nan_do_not_matter():
    values, classes = np.array([0, 1, 1, 1, 0, 0.5]), np.array([0, 0, 1, 1, 2, 2])
    expected = bootstrap_interval(values, classes)
    values = np.concatenate([values, np.full(5, np.nan)])
    classes = np.concatenate([classes, [0, 1, 7, 8, 9]])
    assert bootstrap_interval(values, classes) == expected


def test_equal_classes_leave_no_doubt():
    classes = np.repeat(np.arange(8), 2)
    assert bootstrap_interval(np.tile([0, 1], 8), classes) == (0.5, 0.5)


def test_draws_follow_the_seed():
    rng = np.random.default_rng(2)
    values, classes = rng.random(50), rng.integers(0, 10, 50)
    first = bootstrap_interval(values, classes)
    assert first == bootstrap_interval(values, classes, seed=0)
    assert first != bootstrap_interval(values, classes, seed=1)


def test_one_class_tells_no_interval():
    assert np.isnan(bootstrap_interval([0, 1, 1], [4, 4, 4])).all()
    assert np.isnan(bootstrap_interval([0, 1, np.nan], [4, 4, 5])).all()
    assert np.isnan(bootstrap_interval_of(len, ["a", "a"])).all()


def test_many_classes_need_little_memory():
    classes = np.random.default_rng(3).integers(0, 11_000, 60_000)
    values = (np.arange(60_000) % 3 > 0).astype(float)
    tracemalloc.start()
    low, high = bootstrap_interval(values, classes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert low < 2 / 3 < high < low + 0.02
    assert peak < 32e6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": [], "classes": np.zeros(0, int)}, "None of the 0 queries"),
        ({"values": [np.nan] * 3}, "None of the 3 queries"),
        ({"values": [1.0, np.inf, 0.0]}, "must be finite"),
        ({"values": [1.0]}, r"shapes \(1,\) and \(3,\)"),
        ({"classes": [0.1, 0.2, 0.3]}, "integer class ids"),
        ({"resamples": 0}, "1 or more; got 0"),
        ({"resamples": 2.5}, "whole number"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(**{"values": [0, 1, 1], "classes": [0, 0, 1], **arguments})


def test_a_mean_has_the_same_interval_either_way():
    rng = np.random.default_rng(4)
    classes = rng.integers(0, 12, 200)
    values = rng.random(200) + 0.2 * classes
    found = bootstrap_interval_of(lambda i: values[i].mean(), classes, 3000)
    expected = bootstrap_interval(values, classes, 3000)
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_classes_are_drawn_whole():
    classes, seen = np.array(["c", "a", "b", "a", "c", "a"]), []
    bootstrap_interval_of(lambda i: seen.append(i) or 0.0, classes, resamples=50)
    for images in seen:
        times = np.bincount(images, minlength=6)
        assert times[0] == times[4]
        assert times[1] == times[3] == times[5]
        assert times[0] + times[1] + times[2] == 3
    assert sum(sorted(images) == [0, 1, 2, 3, 4, 5] for images in seen) < 30


def test_test_sets_without_a_score_are_left_out():
    classes = np.array([0, 0, 1, 1, 2, 2])
    whole = [0.25, 0.75]

    def statistic(images):
        return whole[len(images) % 2] if len(set(classes[images])) > 2 else np.nan

    assert bootstrap_interval_of(statistic, classes) == (0.25, 0.25)
    assert np.isnan(bootstrap_interval_of(lambda _: np.nan, classes)).all()


def test_the_interval_of_nmi_is_as_wide_as_its_spread_over_other_classes():
    def world(seed):
        rng = np.random.default_rng(seed)
        labels = np.repeat(np.arange(40), rng.integers(4, 16, 40))
        lost = rng.random(len(labels)) < rng.random(40)[labels]
        return labels, np.where(lost, rng.integers(0, 40, len(labels)), labels)

    scores, widths = [], []
    for seed in range(80):
        labels, clusters = world(seed)
        scores.append(agreement(labels, clusters).nmi)
        if seed < 5:
            low, high = bootstrap_interval_of(
                lambda i, labels=labels, clusters=clusters: (
                    agreement(labels[i], clusters[i]).nmi
                ),
                labels,
                resamples=40,
            )
            assert low < scores[-1] < high
            widths.append(high - low)
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(scores), rel=0.35)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": np.zeros(0, int)}, "1 or more; got none"),
        ({"classes": [[0, 1]]}, r"shape \[n\]"),
        ({"resamples": 0}, "1 or more"),
    ],
)
def test_bad_input_for_a_statistic_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval_of(**{"statistic": len, "classes": [0, 1], **arguments})
