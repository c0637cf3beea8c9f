"""Scores by ScaNN alone."""

import numpy as np
import pytest

from ms_keras.retrieval.saved_arrays import SavedArrays
from ms_keras.retrieval.scores import score_arrays

pytest.importorskip("scann", reason="ScaNN exists for Linux only")
from ms_keras.retrieval.scann_scores import approximate_scores


@pytest.mark.parametrize("with_gallery", [False, True])
def test_small_galleries_score_as_by_exact_search(with_gallery):
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(90, 8)), rng.integers(0, 20, 90)
    arrays = SavedArrays(rows, labels)
    if with_gallery:
        arrays = SavedArrays(rows[:30], labels[:30], rows[30:], labels[30:])
    found, exact = (
        approximate_scores(arrays, (1, 5), 2),
        score_arrays(arrays, (1, 5), 2),
    )
    assert found.recall == exact.recall
    assert found.counts() == exact.counts()
    np.testing.assert_array_equal(found.ranks, np.minimum(exact.ranks, 6))
