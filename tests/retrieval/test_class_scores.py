"""Scores and confusions of classes against naive loops."""

import collections

import numpy as np
import pytest

import ms_keras
from ms_keras.retrieval import class_scores
from ms_keras.retrieval.class_scores import (
    ClassRecall,
    Confusion,
    confusions,
    per_class_recall,
)
from ms_keras.retrieval.recall import best_positive_ranks


def naive_confusions(rows, labels, gallery=None, gallery_labels=None):
    """Returns (query class, found class, count, share) by loops over pairs."""
    alone = gallery is None
    gallery, gallery_labels = (rows, labels) if alone else (gallery, gallery_labels)

    def cosine(a, b):
        norms = np.linalg.norm(a) * np.linalg.norm(b)
        return float(a @ b / norms) if norms > 0 else 0.0

    counts, sizes = collections.Counter(), collections.Counter()
    for i, row in enumerate(rows):
        positives, negatives = [], []
        for j, other in enumerate(gallery):
            if not (alone and i == j):
                side = positives if gallery_labels[j] == labels[i] else negatives
                side.append((round(cosine(row, other), 6), -j))
        if not positives:
            continue
        sizes[labels[i]] += 1
        if negatives and max(negatives)[0] >= max(positives)[0]:
            counts[labels[i], gallery_labels[-max(negatives)[1]]] += 1
    pairs = [(*pair, count, count / sizes[pair[0]]) for pair, count in counts.items()]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))


def as_tuples(found):
    return [(c.query_class, c.found_class, c.count, c.share) for c in found]


@pytest.mark.parametrize("block", [1 << 24, 100])
@pytest.mark.parametrize("seed", range(3))
def test_confusions_are_those_of_naive_loops(seed, block, monkeypatch):
    monkeypatch.setattr(class_scores, "_BLOCK_ENTRIES", block)
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 9, 60)
    ids[-1] = 9  # alone
    labels = [f"class {i}" for i in ids]
    rows = rng.normal(size=(60, 5)) + rng.normal(size=(10, 5))[ids]
    rows[10:15], rows[20:24], rows[30] = rows[3], rows[4], 0
    naive = naive_confusions(rows, labels)
    assert len(naive) > 10
    assert as_tuples(confusions(rows, labels, top=100)) == naive
    assert as_tuples(confusions(rows, labels, top=7)) == naive[:7]
    gallery, gallery_ids = rng.normal(size=(30, 5)), rng.integers(4, 14, 30)
    gallery[:5] = rows[3]
    gallery_labels = [f"class {i}" for i in gallery_ids]
    found = confusions(rows, labels, gallery, gallery_labels, top=1000)
    assert as_tuples(found) == naive_confusions(rows, labels, gallery, gallery_labels)


def test_confusions_of_a_hand_made_example():
    angles = np.deg2rad([0, 10, 15, 40, 90])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    # The 2nd finds a b at 5 degrees; the 3rd an a at 5 degrees.
    assert confusions(rows, ["a", "a", "b", "b", "b"]) == [
        Confusion("a", "b", 1, 1 / 2),
        Confusion("b", "a", 1, 1 / 3),
    ]


def test_shares_and_recall_of_a_class_sum_to_1():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 12, 150)
    rows = rng.normal(size=(150, 6)) + rng.normal(size=(12, 6))[labels]
    recall = per_class_recall(best_positive_ranks(rows, labels), labels)
    shares = collections.Counter()
    for confusion in confusions(rows, labels, top=1000):
        shares[confusion.query_class] += confusion.share
    assert len(recall) == 12
    for score in recall:
        assert score.recall == pytest.approx(1 - shares[score.label])


def test_in_a_collapsed_tower_all_are_taken_for_the_first_other_class():
    labels = np.repeat([3, 5, 8], 40)
    row = np.random.default_rng(0).normal(size=77)
    for rows in (np.tile(row, (120, 1)), np.zeros((120, 77))):
        assert confusions(rows, labels) == [
            Confusion(3, 5, 40, 1.0),
            Confusion(5, 3, 40, 1.0),
            Confusion(8, 3, 40, 1.0),
        ]


def test_a_perfect_tower_and_one_class_confuse_nothing():
    labels = np.repeat(np.arange(7), 3)
    assert confusions(np.eye(7)[labels], labels) == []
    assert confusions(np.eye(7)[labels], np.zeros(21, int)) == []


def test_recall_per_class_is_sorted_and_leaves_out_who_has_no_positive():
    ranks = [1, 3, 2, 1, 0, 0, 1, 9]
    labels = ["b", "b", "a", "a", "a", "lone", "c", "d"]
    assert per_class_recall(ranks, labels) == [
        ClassRecall("d", 0.0, 1),
        ClassRecall("a", 0.5, 2),
        ClassRecall("b", 0.5, 2),
        ClassRecall("c", 1.0, 1),
    ]
    at_2 = {score.label: score.recall for score in per_class_recall(ranks, labels, k=2)}
    assert at_2 == {"a": 1.0, "b": 0.5, "c": 1.0, "d": 0.0}


def test_recall_per_class_weighted_by_queries_is_recall():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 20, 120)
    rows = rng.normal(size=(120, 4))
    ranks = best_positive_ranks(rows, labels)
    for k, recall in ms_keras.recall_at_k(rows, labels, ks=(1, 5)).items():
        scores = per_class_recall(ranks, labels, k)
        hits = sum(score.recall * score.num_queries for score in scores)
        assert hits / sum(score.num_queries for score in scores) == pytest.approx(
            recall
        )


@pytest.mark.parametrize("kind", ["i2", "u8", "U", "S", "O"])
def test_classes_are_told_as_plain_values_of_the_labels(kind):
    labels = np.array(["7", "7", "8", "8"]).astype(kind)
    expected = labels.tolist()[::2]
    scores = per_class_recall([1, 1, 1, 1], labels)
    assert [score.label for score in scores] == expected
    assert {type(score.label) for score in scores} == {type(expected[0])}
    found = confusions(np.ones((4, 2)), labels)
    assert [confusion.query_class for confusion in found] == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"ranks": np.zeros(0, int), "labels": np.zeros(0, int)},
            "None of the 0 queries",
        ),
        ({"ranks": [0, 0, 0]}, "None of the 3 queries"),
        ({"ranks": [1, 1]}, r"shapes \(2,\) and \(3,\)"),
        ({"ranks": np.ones((3, 1))}, r"shapes \(3, 1\)"),
        ({"k": 0}, "1 or more"),
        ({"labels": [0.5, 1.0, 1.0]}, "integer class ids"),
    ],
)
def test_recall_per_class_refuses_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        per_class_recall(**{"ranks": [1, 2, 3], "labels": [0, 0, 1], **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top": 0}, "1 or more"),
        ({"embeddings": np.zeros((0, 2)), "labels": []}, "non-empty"),
        ({"embeddings": [[0.0, np.nan]] * 3}, "must be finite"),
        ({"labels": [0, 1, 2]}, "None of the 3 queries"),
        ({"labels": [0, 1]}, "2 labels"),
        ({"gallery": np.eye(2)}, "gallery_labels=None"),
    ],
)
def test_confusions_refuse_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        confusions(**{"embeddings": np.eye(3), "labels": [0, 0, 1], **arguments})
