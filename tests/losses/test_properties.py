"""What the paper says of the weights: which similarities each loss looks at."""

import numpy as np
import pytest
import tensorflow as tf
from family import make
from naive import unit_rows

from ms_keras.losses import DistanceWeightedMining, HardestTripletWeighting


def row_weights(name, positives, negatives, **arguments):
    """Returns absolute weights of an anchor's pairs, given their similarities."""
    similarities = np.array([*positives, *negatives])
    labels = [0] * len(positives) + [1] * len(negatives)
    # Each reference has its own axis beside the anchor's: only S to the anchor matters.
    references = np.eye(len(similarities) + 1)[1:]
    references *= np.sqrt(1 - similarities**2)[:, None]
    references[:, 0] = similarities
    anchor = np.eye(len(similarities) + 1)[:1]
    loss = make(name, **arguments)
    weights = loss.pair_weights([0], anchor, labels, references).numpy()[0]
    return np.abs(weights[: len(positives)]), np.abs(weights[len(positives) :])


POSITIVES, NEGATIVES = np.array([0.7, 0.55, 0.4]), np.array([0.5, 0.45, 0.2, -0.1])


@pytest.mark.parametrize("name", ["lifted_structure", "lifted_star"])
def test_lifted_weights_sum_to_one_and_do_not_mind_a_common_shift(name):
    pull, push = row_weights(name, POSITIVES, NEGATIVES)
    assert pull.sum() == pytest.approx(1)
    assert push.sum() == pytest.approx(1)
    shifted = row_weights(name, POSITIVES - 0.3, NEGATIVES - 0.3)
    np.testing.assert_allclose(shifted[0], pull, rtol=1e-9)
    np.testing.assert_allclose(shifted[1], push, rtol=1e-9)


def test_lifted_weights_are_zero_behind_the_hinge():
    pull, push = row_weights("lifted_structure", [0.99], [-0.9])
    assert not pull.any()
    assert not push.any()


def test_binomial_weights_depend_on_a_pair_s_own_similarity_only():
    pull, push = row_weights("binomial", POSITIVES, NEGATIVES)
    moved_positives = row_weights("binomial", [0.7, 0.1, -0.8], NEGATIVES)
    moved_negatives = row_weights("binomial", POSITIVES, [0.5, 0.9, 0.8, -0.9])
    assert moved_positives[0][0] == pytest.approx(pull[0], rel=1e-12)
    np.testing.assert_allclose(moved_positives[1], push, rtol=1e-12)
    assert moved_negatives[1][0] == pytest.approx(push[0], rel=1e-12)
    np.testing.assert_allclose(moved_negatives[0], pull, rtol=1e-12)
    own = row_weights("binomial", POSITIVES, [0.52, *NEGATIVES[1:]])[1]
    assert own[0] > push[0]
    np.testing.assert_allclose(own[1:], push[1:], rtol=1e-12)


class TestMultiSimilarityWeightsChangeWithEachSimilarityAlone:
    def test_self_similarity(self):
        """Everything shifts: no difference between two pairs changes."""
        for shift in (0.1, -0.1):
            before = row_weights("ms", POSITIVES, NEGATIVES)[1]
            after = row_weights("ms", POSITIVES + shift, NEGATIVES + shift)[1]
            assert (np.sign(after[0] - before[0])) == np.sign(shift)

    def test_negative_relative_similarity(self):
        """Another negative comes nearer, and takes a part of the weight."""
        before = row_weights("ms", POSITIVES, NEGATIVES)[1]
        after = row_weights("ms", POSITIVES, [0.5, 0.49, 0.2, -0.1])[1]
        assert after[0] < before[0]

    def test_positive_relative_similarity(self):
        """The positives move above the negative, beyond the margin of the mining."""
        before = row_weights("ms", POSITIVES, NEGATIVES)[1]
        after = row_weights("ms", [0.9, 0.8, 0.7], NEGATIVES)[1]
        assert before[0] > 0
        assert after[0] == 0


def test_contrastive_weights_are_zero_or_one():
    pull, push = row_weights("contrastive", POSITIVES, [0.6, 0.51, 0.49, -0.5])
    np.testing.assert_array_equal(pull, [1, 1, 1])
    np.testing.assert_array_equal(push, [1, 1, 0, 0])


def test_triplet_weights_count_violating_triplets():
    pull, push = row_weights("triplet", [0.7, 0.55, 0.4], [0.5, 0.44, 0.2, -0.1])
    np.testing.assert_array_equal(pull, [0, 1, 2])
    np.testing.assert_array_equal(push, [2, 1, 0, 0])


def test_equal_pairs_share_a_place_in_the_hardest_triplet():
    pull, push = row_weights("triplet_hard", [0.7, 0.4, 0.4], [0.6, 0.6, 0.2])
    np.testing.assert_allclose(pull, [0, 0.5, 0.5])
    np.testing.assert_allclose(push, [0.5, 0.5, 0])


@pytest.mark.parametrize("towards", [-2, 0, 2])
def test_the_hardest_pairs_stay_so_when_similarities_are_rounded_anew(towards):
    # As when they are read off from a pair's other end, or multiplied in another block.
    similarities = np.float32(
        [[0.7, 0.4, 0.4, 0.6, 0.6, 0.2], [0.5, 0.4, 0.6, 0.1, 0, 0]]
    )
    positives = np.array([[True] * 3 + [False] * 3] * 2)
    weighting = HardestTripletWeighting(margin=0.1)
    statistics = weighting.statistics(similarities, positives, ~positives)
    rounded = np.nextafter(similarities, np.float32(towards or similarities))
    columns = [statistic[:, None] for statistic in statistics]
    weights = weighting.weights(rounded, positives, ~positives, columns)
    expected = [[0, -0.5, -0.5, 0.5, 0.5, 0], [0] * 6]  # the second keeps the margin
    np.testing.assert_array_equal(weights, expected)


def test_nearest_positives_pull_hardest_in_nca_and_least_in_n_pairs():
    assert np.argmax(row_weights("nca", POSITIVES, NEGATIVES)[0]) == 0
    assert np.argmax(row_weights("n_pairs", POSITIVES, NEGATIVES)[0]) == 2


def test_distance_weighted_mining_draws_as_many_negatives_as_positives():
    rng = np.random.default_rng(0)
    labels = np.repeat(range(8), [2, 3, 5, 8, 1, 4, 6, 11])
    rows = unit_rows(rng, len(labels), 4)
    weights = make("margin_distance_weighted", beta=2.0).pair_weights(labels, rows)
    drawn = (weights.numpy() > 0).sum(axis=1)
    np.testing.assert_array_equal(drawn, np.bincount(labels)[labels] - 1)


def test_distance_weighted_mining_draws_by_the_inverse_density_of_distances():
    """Of negatives at two distances, the rarer distance is drawn as the rule says."""
    dim, similarities = 8, np.array([0.6, 0.1])
    distance = np.sqrt(2 - 2 * similarities)
    density = distance ** (dim - 2) * (1 - distance**2 / 4) ** ((dim - 3) / 2)
    expected = (1 / density[0]) / (1 / density).sum()
    draws = 4000
    noise = np.random.default_rng(1).uniform(0, 1e-6, (draws, 1))
    S = tf.constant(np.tile([0.9, *similarities], (draws, 1)) + noise)
    positive = np.tile([True, False, False], (draws, 1))
    kept, pushed = DistanceWeightedMining().masks(S, positive, ~positive, dim)
    np.testing.assert_array_equal(kept, positive)
    np.testing.assert_array_equal(pushed.numpy().sum(axis=1), np.ones(draws))
    share = pushed.numpy()[:, 1].mean()
    assert share == pytest.approx(expected, abs=4 * np.sqrt(0.25 / draws))


def test_distance_weighted_mining_answers_the_same_for_the_same_batch():
    rng = np.random.default_rng(2)
    labels, rows = np.repeat(range(4), 3), unit_rows(rng, 12, 4)
    loss = make("margin_distance_weighted")
    first, again = loss.pair_weights(labels, rows), loss.pair_weights(labels, rows)
    np.testing.assert_array_equal(first, again)
    other = loss.pair_weights(labels, unit_rows(rng, 12, 4))
    assert ((first.numpy() > 0) != (other.numpy() > 0)).any()


def test_negatives_all_beyond_the_furthest_distance_have_the_same_chance():
    S = np.tile([0.9, -0.5, -0.6], (2000, 1))
    S = tf.constant(S + np.random.default_rng(3).uniform(0, 1e-6, (2000, 1)))
    positive = np.tile([True, False, False], (2000, 1))
    _, pushed = DistanceWeightedMining().masks(S, positive, ~positive, 16)
    assert pushed.numpy()[:, 1].mean() == pytest.approx(0.5, abs=0.05)
