"""Recall@K against naive loops, and what must not fool it."""

import numpy as np
import pytest
import tensorflow as tf

import ms_keras
from ms_keras.retrieval import inputs, ranks
from ms_keras.retrieval.recall import best_positive_ranks


def naive_ranks(embeddings, labels, gallery=None, gallery_labels=None):
    """Returns ranks by loops over pairs in float64; ties count against the query."""

    def unit(rows):
        rows = np.asarray(rows, np.float64)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(norms > 0, norms, 1)

    alone = gallery is None
    queries = unit(embeddings)
    references = queries if alone else unit(gallery)
    reference_labels = labels if alone else gallery_labels
    ranks = []
    for i, query in enumerate(queries):
        positives, negatives = [], []
        for j, reference in enumerate(references):
            if not (alone and i == j):
                side = positives if reference_labels[j] == labels[i] else negatives
                side.append(float(query @ reference))
        if not positives:
            ranks.append(0)
            continue
        ahead = [s for s in negatives if s > max(positives) - 1e-6]
        ranks.append(1 + len(ahead))
    return np.array(ranks)


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_ranks_agree_with_naive_loops(seed, small, monkeypatch):
    if small:  # so that blocks, tiles and groups have borders within the data
        sizes = {"_BLOCK_ENTRIES": 150, "_ROWS": 14, "_COLUMNS": 17, "_GROUP": 3}
        for name, size in sizes.items():
            monkeypatch.setattr(ranks, name, size)
    rng = np.random.default_rng(seed)
    rows, labels = rng.normal(size=(60, 5)), rng.integers(0, 25, 60)  # singletons too
    rows[10:14] = rows[3]  # duplicates, of the same class and of others
    np.testing.assert_array_equal(
        best_positive_ranks(rows, labels), naive_ranks(rows, labels)
    )
    gallery, gallery_labels = rng.normal(size=(45, 5)), rng.integers(0, 40, 45)
    np.testing.assert_array_equal(
        best_positive_ranks(rows, labels, gallery, gallery_labels),
        naive_ranks(rows, labels, gallery, gallery_labels),
    )


def test_recall_of_a_hand_made_example():
    angles = np.deg2rad([0, 10, 15, 40, 90])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    labels = ["a", "a", "b", "b", "b"]
    # 1st: nearest a. 2nd: b at 5, a at 10. 3rd: a, a, b. 4th: b. 5th: b.
    recall = ms_keras.recall_at_k(rows, labels, ks=(1, 2, 3))
    assert recall == {1: 3 / 5, 2: 4 / 5, 3: 1.0}


@pytest.mark.parametrize("dim", [3, 64, 200, 333, 512])
@pytest.mark.parametrize("count", [10, 1000, 1003, 3000])
def test_a_collapsed_tower_scores_nothing(count, dim):
    rng = np.random.default_rng(dim)
    row = rng.normal(size=dim)
    labels = np.repeat(np.arange(count), 5)[:count]
    lengths = 10.0 ** rng.uniform(-20, 20, (count, 1))
    for rows in (np.tile(row, (count, 1)), np.zeros((count, dim)), lengths * row):
        assert ms_keras.recall_at_k(rows, labels, ks=(1,))[1] == 0
        found = best_positive_ranks(rows, labels)
        np.testing.assert_array_equal(found, 1 + np.sum(labels[:, None] != labels, 1))


def test_a_tower_collapsed_up_to_noise_scores_like_chance():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(200), 5)
    rows = np.ones((1000, 64)) + rng.normal(scale=1e-9, size=(1000, 64))
    assert ms_keras.recall_at_k(rows, labels, ks=(1,))[1] < 0.02


def test_a_perfect_tower_scores_everything():
    labels = np.repeat(np.arange(7), 3)
    rows = np.eye(7)[labels] * 3.0
    assert ms_keras.recall_at_k(rows, labels) == {1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0}


def test_with_a_gallery_nothing_is_left_out():
    rows = np.eye(3)
    recall = ms_keras.recall_at_k(
        rows, [0, 1, 2], (1,), gallery=rows, gallery_labels=[0, 1, 2]
    )
    assert recall[1] == 1.0


def test_scale_and_precision_of_embeddings_do_not_matter():
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(20), 4)
    rows = rng.normal(size=(80, 16)).astype("f4")
    expected = ms_keras.recall_at_k(rows, labels)
    scales = (10.0 ** rng.integers(-30, 30, (80, 1))).astype("f4")
    assert ms_keras.recall_at_k(rows * scales, labels) == expected
    half = rows.astype("f2")
    exactly = half.astype("f8")
    assert ms_keras.recall_at_k(half, labels) == ms_keras.recall_at_k(exactly, labels)


def test_queries_without_a_positive_are_left_out_of_the_mean():
    rows = np.eye(5)[[0, 0, 1, 1, 2]]
    with pytest.warns(UserWarning, match="1 of 5 queries have no positive"):
        assert ms_keras.recall_at_k(rows, [0, 0, 1, 1, 2], ks=(1,))[1] == 1.0
    np.testing.assert_array_equal(
        best_positive_ranks(rows, [0, 0, 1, 1, 2]), [1, 1, 1, 1, 0]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embeddings": np.zeros((0, 2)), "labels": []}, "non-empty"),
        ({"embeddings": np.zeros(3)}, "non-empty"),
        ({"labels": [0, 0, 1]}, "3 labels"),
        ({"labels": np.zeros((4, 1))}, r"shape \[n\]"),
        ({"embeddings": [[0, 1], [np.nan, 1], [1, 1], [1, 0]]}, "first row 1"),
        ({"embeddings": [[0, 1], [1, 1], [1, 1], [np.inf, 0]]}, "first row 3"),
        ({"labels": [0, 1, 2, 3]}, "None of the 4 queries"),
        ({"ks": (0,)}, "1 or more"),
        ({"ks": (2.5,)}, "whole numbers"),
        ({"ks": ()}, "whole numbers"),
        ({"embeddings": np.full((4, 2), "a")}, "real numbers; got dtype <U1"),
        ({"labels": [0.0, 0.0, 1.0, 1.0]}, r"integer class ids.*astype\(int\)"),
        ({"labels": [0, None, 1, 1]}, "integer class ids"),
        (
            {"gallery": np.eye(2), "gallery_labels": ["0", "1"]},
            "got numbers and strings",
        ),
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
        ms_keras.recall_at_k(**arguments)


def test_a_k_beyond_the_gallery_finds_every_positive():
    rows = np.random.default_rng(0).normal(size=(6, 3))
    assert ms_keras.recall_at_k(rows, [0, 0, 1, 1, 2, 2], ks=(6,)) == {6: 1.0}


def test_every_kind_of_label_counts_the_same():
    rng = np.random.default_rng(3)
    rows, ids = rng.normal(size=(40, 3)), rng.permutation(np.repeat(range(8), 5))
    expected = best_positive_ranks(rows, ids)
    names = np.array([f"class {i}" for i in ids])
    huge = ids.astype(np.uint64) + 2**63 + 2**53  # neighbours merge in float64
    for labels in (names, names.astype("S"), names.astype(object), huge, list(names)):
        found = best_positive_ranks(rows, labels)
        np.testing.assert_array_equal(found, expected)


def test_large_ids_of_two_integer_types_do_not_merge():
    query, gallery = np.array([2**60], np.int64), np.array([2**60 + 1, 7], np.uint64)
    found = best_positive_ranks(np.eye(2)[:1], query, np.eye(2), gallery)
    assert found.tolist() == [0]


def test_tensors_of_tensorflow_are_taken_in_every_precision():
    rng = np.random.default_rng(4)
    rows = rng.integers(-8, 8, (40, 16))  # exact in all of them
    labels = np.repeat(range(8), 5)
    expected = best_positive_ranks(rows, labels)
    for dtype in (tf.float16, tf.bfloat16, tf.float32, tf.float64, tf.int8):
        found = best_positive_ranks(tf.cast(rows, dtype), tf.constant(labels))
        np.testing.assert_array_equal(found, expected)


def test_all_broken_rows_are_counted_across_blocks(monkeypatch):
    monkeypatch.setattr(inputs, "_BLOCK_ENTRIES", 8)
    rows = np.ones((20, 2))
    rows[[7, 18]] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"2 of 20 rows.*first row 7"):
        ms_keras.recall_at_k(rows, np.zeros(20, int))


def test_finite_rows_of_extreme_size_are_not_taken_for_broken():
    rows = np.array([[1e308, 1e308], [1e308, 0.9e308], [5e-324, 0], [1e-300, 0]])
    assert ms_keras.recall_at_k(rows, [0, 0, 1, 1], ks=(1,)) == {1: 1.0}


def test_a_difference_within_the_rounding_of_float32_is_a_tie():
    def at(cosine):
        return [cosine, np.sqrt(1 - cosine**2)]

    for step, rank in ((4e-7, 2), (1e-5, 1)):
        gallery = [at(0.6), at(0.6 - step)]
        found = best_positive_ranks([[1.0, 0.0]], [0], gallery, [0, 1])
        assert found.tolist() == [rank]


def test_positives_that_tie_with_each_other_are_not_taken_for_negatives(monkeypatch):
    # Positives just below the best one lie where two matmuls may disagree.
    rng = np.random.default_rng(7)
    base = np.repeat(rng.normal(size=(40, 96)), 6, axis=0)
    rows = base + 1e-6 * rng.normal(size=base.shape) / np.sqrt(96)
    labels = np.repeat(np.arange(20), 12)  # two clusters each
    monkeypatch.setattr(ranks, "_ROWS", 50)
    np.testing.assert_array_equal(best_positive_ranks(rows, labels), 1)


def test_a_failing_comparison_is_told(monkeypatch):
    def broken(*arguments):
        raise MemoryError("no room")

    monkeypatch.setattr(ranks, "_reached", broken)
    with pytest.raises(MemoryError, match="no room"):
        ms_keras.recall_at_k(np.eye(4), [0, 0, 1, 1])
