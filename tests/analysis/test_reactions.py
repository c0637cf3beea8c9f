"""Moving one of a pair's three similarities at a time."""

import numpy as np
import pytest

from ms_keras.analysis.reactions import (
    FARTHEST,
    first_pairs_weights,
    moved_rows,
    reaction,
    reaction_rows,
)
from ms_keras.losses import HistogramLoss, LiftedStarLoss

POSITIVES = np.array([[0.5, 0.3], [0.4, 0.2]])
NEGATIVES = np.array([[0.1, 0.6, 0.0], [0.2, 0.3, 0.4]])
AMOUNTS = np.array([0.1, -0.2])
COLUMN = AMOUNTS[:, np.newaxis]


def moved(pair, which):
    positives, negatives = moved_rows(POSITIVES, NEGATIVES, AMOUNTS, pair, which)
    return positives - POSITIVES, negatives - NEGATIVES


@pytest.mark.parametrize("pair", ["positive", "negative"])
def test_self_similarity_moves_with_all_differences_held(pair):
    of_positives, of_negatives = moved(pair, "S")
    np.testing.assert_allclose(of_positives, COLUMN * [1, 1])
    np.testing.assert_allclose(of_negatives, COLUMN * [1, 1, 1])


@pytest.mark.parametrize(
    ("pair", "which", "of_positives", "of_negatives"),
    [
        ("negative", "N", [0, 0], [0, 1, 1]),
        ("negative", "P", [1, 1], [0, 0, 0]),
        ("positive", "N", [0, 0], [1, 1, 1]),
        ("positive", "P", [0, 1], [0, 0, 0]),
    ],
)
def test_only_the_other_pairs_of_one_sign_move(pair, which, of_positives, of_negatives):
    found = moved(pair, which)
    np.testing.assert_allclose(found[0], COLUMN * of_positives, atol=1e-15)
    np.testing.assert_allclose(found[1], COLUMN * of_negatives, atol=1e-15)


def test_the_histogram_loss_sees_self_similarity_through_its_bins_only():
    loss, bins = HistogramLoss(), 151
    step = 2 / (bins - 1)
    rng = np.random.default_rng(0)
    positives = rng.uniform(0, 0.3, (20, 4))
    negatives = rng.uniform(0, 0.3, (20, 5))
    before = first_pairs_weights(loss, positives, negatives, "negative")
    for steps, same in ((3, True), (20, True), (0.5, False)):
        amounts = np.full(20, steps * step)
        rows = moved_rows(positives, negatives, amounts, "negative", "S")
        after = first_pairs_weights(loss, *rows, "negative")
        assert np.allclose(after, before) == same
    assert before.any()


def test_a_reaction_has_a_curve_for_each_pair_and_similarity():
    found = reaction(LiftedStarLoss(), points=3)
    assert found.amounts.tolist() == [-FARTHEST, 0, FARTHEST]
    assert len(found.weights) == 6
    # The weights of the negatives are a softmax: a common shift changes nothing.
    shifted = found.weights["negative", "S"]
    np.testing.assert_allclose(shifted, shifted[0])
    others = found.weights["negative", "N"]
    assert others[0] > others[1] > others[2]
    assert others[1] == pytest.approx(shifted[1])
    rows = reaction_rows({"lifted_star": found})
    assert ("lifted_star", "negative", "N", 0.0, others[1]) in rows
    assert len(rows) == 18
