"""The pairs of embeddings, beside naive loops."""

import numpy as np
import pytest

from ms_keras.analysis.embedding_pairs import (
    EDGES,
    PairCounts,
    anchor_pairs,
    anchor_rows,
    densities,
    similarity_counts,
    similarity_rows,
    told,
)
from ms_keras.losses import ContrastiveLoss, MultiSimilarityLoss
from ms_keras.retrieval.saved_arrays import SavedArrays


def unit_rows(rng, count):
    rows = rng.normal(size=(count, 6)) + 0.7
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def alone():
    rng = np.random.default_rng(0)
    return SavedArrays(unit_rows(rng, 24), np.arange(24) % 5)


@pytest.fixture
def with_gallery():
    rng = np.random.default_rng(1)
    return SavedArrays(
        unit_rows(rng, 9), np.arange(9) % 3, unit_rows(rng, 14), np.arange(14) % 4
    )


def counted(pairs):
    """Counts (similarity, is positive) pairs by the bins of `EDGES`."""
    counts = np.zeros((2, len(EDGES) - 1), int)
    for similarity, positive in pairs:
        place = min(int((similarity + 1) / 2 * (len(EDGES) - 1)), len(EDGES) - 2)
        counts[0 if positive else 1, place] += 1
    return counts


def test_each_pair_of_images_counts_once_and_none_with_itself(alone):
    rows, labels = alone[:2]
    expected = counted(
        (float(rows[i] @ rows[j]), labels[i] == labels[j])
        for i in range(24)
        for j in range(i)
    )
    np.testing.assert_array_equal(similarity_counts(alone), expected)
    assert expected.sum() == 24 * 23 / 2


def test_queries_are_paired_with_the_whole_gallery(with_gallery):
    rows, labels, gallery, gallery_labels = with_gallery
    expected = counted(
        (float(rows[i] @ gallery[j]), labels[i] == gallery_labels[j])
        for i in range(9)
        for j in range(14)
    )
    np.testing.assert_array_equal(similarity_counts(with_gallery), expected)


def test_counts_do_not_depend_on_how_the_rows_are_cut(alone, monkeypatch):
    expected = similarity_counts(alone)
    monkeypatch.setattr("ms_keras.analysis.embedding_pairs._BLOCK_ENTRIES", 60)
    np.testing.assert_array_equal(similarity_counts(alone), expected)


def test_equal_rows_count_at_similarity_one():
    rows = np.full((3, 7), 7**-0.5, np.float32)
    positive, negative = similarity_counts(SavedArrays(rows, np.array([0, 0, 1])))
    assert (positive[-1], negative[-1]) == (1, 2)


def test_a_density_integrates_to_one(alone):
    for counts in similarity_counts(alone):
        assert np.sum(densities(counts) * np.diff(EDGES)) == pytest.approx(1)
    rows = similarity_rows({"before": PairCounts(*similarity_counts(alone))})
    assert len(rows) == 100
    assert rows[0][0] == "before"
    assert sum(row[3] for row in rows) == similarity_counts(alone).positive.sum()


def test_kept_pairs_are_those_with_a_weight(alone):
    found = anchor_pairs(ContrastiveLoss(lambda_=0.5), [alone])
    rows, labels = alone[:2]
    for i in range(24):
        same = [j for j in range(24) if labels[j] == labels[i] and j != i]
        near = [
            j
            for j in range(24)
            if labels[j] != labels[i] and float(rows[i] @ rows[j]) > 0.5
        ]
        assert found.kept_positives[i] == found.positive_weight[i] == len(same)
        assert found.kept_negatives[i] == found.negative_weight[i] == len(near)


def test_multi_similarity_keeps_what_its_mining_keeps(with_gallery):
    found = anchor_pairs(MultiSimilarityLoss(), [with_gallery, with_gallery])
    rows, labels, gallery, gallery_labels = with_gallery
    for i in range(9):
        similarity = gallery @ rows[i]
        same = gallery_labels == labels[i]
        near = ~same & (similarity > similarity[same].min() - 0.1)
        far = same & (similarity < similarity[~same].max() + 0.1)
        assert found.kept_positives[i] == found.kept_positives[9 + i] == far.sum()
        assert found.kept_negatives[i] == near.sum()
        pulls = np.exp(-2 * (similarity[far].astype(float) - 0.5)).sum()
        pushes = np.exp(40 * (similarity[near].astype(float) - 0.5)).sum()
        assert found.positive_weight[i] == pytest.approx(pulls / (1 + pulls), rel=1e-4)
        assert found.negative_weight[i] == pytest.approx(
            pushes / (1 + pushes), rel=1e-4
        )


def test_means_are_told(alone):
    found = {"before": anchor_pairs(ContrastiveLoss(lambda_=-1), [alone])}
    positives = sum(found["before"].kept_positives) / 24
    assert f"before: per anchor {positives:.2f} positives" in told(found)
    rows = anchor_rows(found)
    assert [row[:2] for row in rows] == [("before", i) for i in range(24)]
