"""One exponential for both ends of a pair gives what one for each gives."""

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.losses import (
    LiftedStarWeighting,
    LiftedStructureWeighting,
    MultiSimilarityWeighting,
    NCAWeighting,
)
from ms_keras.losses.exponential import ExponentialWeighting
from ms_keras.losses.recipe import End, Weighting

WEIGHTINGS = [
    MultiSimilarityWeighting(),
    MultiSimilarityWeighting(alpha=2.0, beta=50.0, lambda_=1.0),
    MultiSimilarityWeighting(alpha=18.0, beta=76.0, lambda_=0.77),
    MultiSimilarityWeighting(alpha=30.0, beta=500.0, lambda_=0.1),
    LiftedStarWeighting(),
    LiftedStarWeighting(alpha=10.0, beta=300.0),
    LiftedStructureWeighting(),
    NCAWeighting(),
    NCAWeighting(scale=200.0),
]


def ends_of(weighting, similarities, same, dtype, known_by=None):
    """Returns both ends of all pairs among anchors, as the engine makes them.

    What they know is what the weighting makes of it, or else the given class.
    """
    positives, negatives = same & ~np.eye(len(same), dtype=bool), ~same
    # Each anchor keeps pairs of its own choice.
    kept = np.random.default_rng(1).uniform(size=same.shape) < 0.8
    masks = (positives & kept, negatives & kept)
    statistics = weighting.statistics(similarities, *map(tf.constant, masks))
    upstream = np.random.default_rng(2).uniform(size=len(same)).astype(dtype)
    known = (known_by or type(weighting)).known_of_anchors(
        weighting, statistics, tf.constant(upstream)
    )
    return (
        End(*masks, tuple(vector[:, None] for vector in known)),
        End(masks[0].T, masks[1].T, known),
    )


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=repr)
def test_the_sum_over_ends_is_that_of_the_weights(weighting, dtype):
    rows = np.random.default_rng(0).normal(size=(12, 3))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    similarities = tf.constant((rows @ rows.T).astype(dtype))
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 4, 4])  # one is alone
    same = labels[:, None] == labels
    ends = ends_of(weighting, similarities, same, dtype)
    found = weighting.summed_weights(similarities, ends)
    plain = ends_of(weighting, similarities, same, dtype, known_by=Weighting)
    expected = Weighting.summed_weights(weighting, similarities, plain)
    assert np.isfinite(expected).all()
    tolerance = 2e-5 if dtype == "f4" else 1e-11
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=1e-12)
    assert np.abs(expected).max() > 1e-3


def test_an_exponential_that_would_overflow_is_computed_for_each_end():
    """exp(450) is beyond float32, the weights are not."""
    weighting = MultiSimilarityWeighting(beta=500.0, lambda_=0.1)
    similarities = tf.constant([[1.0, 1.0], [1.0, 1.0]])
    same = np.eye(2, dtype=bool)
    ends = ends_of(weighting, similarities, same, "f4")
    assert np.isfinite(weighting.summed_weights(similarities, ends)).all()


@pytest.mark.parametrize("weighting", WEIGHTINGS, ids=repr)
def test_no_exponent_exceeds_what_is_said_to_be_the_largest(weighting):
    assert isinstance(weighting, ExponentialWeighting)
    exponents = weighting.exponents(np.linspace(-1, 1, 21))
    assert np.max(exponents) <= weighting.largest_exponent * (1 + 1e-12)
