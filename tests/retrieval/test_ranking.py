"""Precision at 1, R-precision and MAP@R against sorted lists; what fools none."""

import numpy as np
import pytest

import ms_keras
from ms_keras.retrieval import ranking
from ms_keras.retrieval.ranking import ranking_scores

NAMES = ("precision_at_1", "r_precision", "map_at_r")


def naive_scores(embeddings, labels, gallery=None, gallery_labels=None):
    """Returns the scores `[3, queries]` from each query's sorted list, in float64."""

    def unit(rows):
        rows = np.asarray(rows, np.float64)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(norms > 0, norms, 1)

    alone = gallery is None
    references = unit(embeddings if alone else gallery)
    reference_labels = labels if alone else gallery_labels
    scores = []
    for i, query in enumerate(unit(embeddings)):
        neighbours = []
        for j, similarity in enumerate(references @ query):
            if not (alone and i == j):
                positive = reference_labels[j] == labels[i]
                neighbours.append((-round(float(similarity), 6), bool(positive)))
        hits = [positive for _, positive in sorted(neighbours)]  # negatives first
        r = sum(hits)
        if r == 0:
            scores.append([np.nan] * 3)
            continue
        precisions = [sum(hits[: k + 1]) / (k + 1) for k in range(r)]
        average = sum(p for p, hit in zip(precisions, hits, strict=False) if hit) / r
        scores.append([float(hits[0]), sum(hits[:r]) / r, average])
    return np.array(scores).T


def assert_naive(*arguments):
    scores = ranking_scores(*arguments)
    assert tuple(scores) == NAMES
    assert all(values.dtype == np.float64 for values in scores.values())
    np.testing.assert_allclose(list(scores.values()), naive_scores(*arguments))


def at(*degrees):
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


@pytest.mark.parametrize("margin", [0, 1, 32])
@pytest.mark.parametrize("block", [1 << 24, 300])
@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_sorted_lists(seed, block, margin, monkeypatch):
    monkeypatch.setattr(ranking, "_BLOCK_ENTRIES", block)
    monkeypatch.setattr(ranking, "_MARGIN", margin)
    rng = np.random.default_rng(seed)
    rows, labels = rng.normal(size=(60, 4)), rng.integers(0, 12, 60) ** 2 // 12
    rows[10:24] = rows[3]  # duplicates, of the same class and of others
    rows[24:30] = rows[4]
    rows += 2 * rng.normal(size=(12, 4))[labels]
    rows[30:40], rows[50] = rows[2], 0
    assert_naive(rows, labels)
    gallery, gallery_labels = rng.normal(size=(45, 4)), rng.integers(0, 14, 45)
    gallery[:10], gallery[20:25] = rows[:10], rows[2]
    assert_naive(rows, labels, gallery, gallery_labels)


def test_scores_of_a_hand_made_example():
    # R is 3, and the 3 nearest are +, -, +.
    gallery, labels = at(10, 20, 30, 40, 50, 60), ["a", "b", "a", "b", "a", "b"]
    scores = ranking_scores(at(0), ["a"], gallery, labels)
    expected = 1, 2 / 3, (1 / 1 + 2 / 3) / 3
    np.testing.assert_allclose([scores[name][0] for name in NAMES], expected)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]])
def test_a_tie_at_the_edge_of_r_counts_against_the_query(order):
    # R is 2: a positive at 10 degrees, then one of each sign at 20.
    gallery, labels = at(10, 20, -20, 90)[order], np.array([0, 0, 1, 1])[order]
    scores = ranking_scores(at(0), [0], gallery, labels)
    np.testing.assert_allclose(
        [scores[name][0] for name in NAMES], [1, 1 / 2, (1 / 1) / 2]
    )


@pytest.mark.parametrize("step", [4e-7, 1e-5])
def test_a_difference_within_the_rounding_of_float32_is_a_tie(step):
    gallery = [[c, np.sqrt(1 - c**2)] for c in (0.6, 0.6 - step)]
    scores = ranking_scores([[1.0, 0.0]], [0], gallery, [0, 1])
    assert {values[0] for values in scores.values()} == {float(step == 1e-5)}


@pytest.mark.parametrize("margin", [0, 32])
@pytest.mark.parametrize("dim", [3, 200, 512])
@pytest.mark.parametrize("sizes", [[5] * 200, [500] + [2] * 250, [3, 90, 3, 500]])
def test_a_collapsed_tower_scores_nothing(sizes, dim, margin, monkeypatch):
    monkeypatch.setattr(ranking, "_MARGIN", margin)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(dim)
    lengths = 10.0 ** rng.uniform(-20, 20, (len(labels), 1))
    for rows in (lengths * rng.normal(size=dim), np.zeros((len(labels), dim))):
        scores = ranking_scores(rows, labels)
        # The i-th positive is behind all negatives, which may still be within R.
        np.testing.assert_array_equal(scores["precision_at_1"], 0)
        for size in set(sizes):
            r, negatives = size - 1, len(labels) - size
            places = {i: negatives + i for i in range(1, r + 1) if negatives + i <= r}
            some = np.repeat(sizes, sizes) == size
            for name, expected in (
                ("r_precision", len(places) / r),
                ("map_at_r", sum(i / place for i, place in places.items()) / r),
            ):
                np.testing.assert_allclose(scores[name][some], expected)


def test_one_class_scores_everything_even_when_collapsed():
    for rows in (np.ones((5, 3)), np.random.default_rng(0).normal(size=(50, 3))):
        for values in ranking_scores(rows, np.zeros(len(rows), int)).values():
            np.testing.assert_allclose(values, 1)


def test_a_perfect_tower_scores_everything():
    labels = np.repeat(np.arange(7), [2, 3, 2, 9, 40, 2, 5])
    for values in ranking_scores(np.eye(7)[labels] * 3.0, labels).values():
        np.testing.assert_allclose(values, 1)


def test_precision_at_1_is_recall_at_1():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 60, 400)
    rows = rng.normal(size=(60, 16))[labels] + 1.5 * rng.normal(size=(400, 16))
    precision = np.nanmean(ranking_scores(rows, labels)["precision_at_1"])
    assert precision == ms_keras.recall_at_k(rows, labels, ks=(1,))[1]
    assert 0.1 < precision < 0.9


def test_a_query_without_a_positive_has_no_score():
    rows, labels = np.eye(5)[[0, 0, 1, 1, 2]], [0, 0, 1, 1, 2]
    for values in ranking_scores(rows, labels).values():
        np.testing.assert_array_equal(values, [1, 1, 1, 1, np.nan])


def test_a_query_with_only_itself_in_the_gallery_is_alone_unless_told_otherwise():
    rows, labels = np.eye(3), [0, 1, 2]
    for values in ranking_scores(rows, labels, rows, labels).values():
        np.testing.assert_array_equal(values, 1)
    with pytest.raises(ValueError, match="None of the 3 queries has another image"):
        ranking_scores(rows, labels)


def test_a_large_class_neither_fills_memory_nor_widens_the_windows_of_small_ones(
    monkeypatch,
):
    sizes, entries, seen = [200] + [2] * 50, 15_000, []
    rng = np.random.default_rng(2)
    labels = rng.permutation(np.repeat(range(51), sizes))
    rows = rng.integers(-1, 2, (300, 9))  # cosines are ties or far apart
    one_window = ranking._in_window

    def watched(sides, references, rows, positives, window):
        seen.append((len(rows), positives.max(), window))
        return one_window(sides, references, rows, positives, window)

    monkeypatch.setattr(ranking, "_in_window", watched)
    monkeypatch.setattr(ranking, "_BLOCK_ENTRIES", entries)
    assert_naive(rows, labels)
    assert {positives for _, positives, _ in seen} == {1, 199}
    for count, positives, window in seen:
        assert count * (300 + 14 * window) <= entries
        # Once more, more widely, if that many neighbours are tied.
        assert window in (positives + 33, 4 * (positives + 33), 300)


def test_every_kind_of_label_counts_the_same():
    rng = np.random.default_rng(4)
    rows, ids = rng.normal(size=(40, 3)), rng.permutation(np.repeat(range(8), 5))
    expected = list(ranking_scores(rows, ids).values())
    names = np.array([f"class {i}" for i in ids])
    for labels in (names, names.astype("S"), names.astype(object), list(names)):
        found = list(ranking_scores(rows, labels).values())
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embeddings": np.zeros((0, 2)), "labels": []}, "non-empty"),
        ({"embeddings": [[1.0, 2.0]], "labels": [0]}, "None of the 1 queries"),
        ({"embeddings": np.zeros(3)}, "non-empty"),
        ({"labels": [0, 0, 1]}, "3 labels"),
        ({"embeddings": [[0, 1], [np.nan, 1], [1, 1], [1, 0]]}, "first row 1"),
        ({"labels": [0, 1, 2, 3]}, "None of the 4 queries"),
        ({"labels": [0.0, 0.0, 1.0, 1.0]}, "integer class ids"),
        ({"gallery": np.eye(2), "gallery_labels": [5, 6]}, "None of the 4 queries"),
        ({"gallery": np.eye(2), "gallery_labels": [0]}, "gallery and their labels"),
        ({"gallery": np.eye(2)}, "gallery_labels=None"),
        ({"gallery_labels": [0]}, "gallery=None"),
        ({"gallery": np.eye(3), "gallery_labels": [0, 1, 2]}, "same dim"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    rows = np.array([[0, 1], [0.1, 1], [1, 0], [1, 0.1]])
    arguments = {"embeddings": rows, "labels": [0, 0, 1, 1], **arguments}
    with pytest.raises(ValueError, match=message):
        ranking_scores(**arguments)
