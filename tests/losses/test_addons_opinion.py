"""Second opinions: our losses against TensorFlow Addons.

Ours give one value per anchor. Unless a test says otherwise the peer sums over the
pairs, triplets or anchors that it forms, and the sum over our anchors is that same sum.
All rows are float64 but for its triplets, which know float32 only.
"""

import warnings

import numpy as np
import pytest
import tensorflow as tf
from family import masks
from naive import unit_rows
from opinions import (
    assert_same,
    even,
    on_batches,
    ours,
    random_sizes,
    two_or_more,
)

from ms_keras import losses


@pytest.fixture(scope="module")
def addons():
    """The losses of TensorFlow Addons."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        why = "tensorflow_addons: Python 3.10-3.11 with TensorFlow 2.15 only"
        return pytest.importorskip("tensorflow_addons", reason=why).losses


def one_minus_cosine(rows):
    rows = tf.math.l2_normalize(rows, axis=1)
    return 1.0 - tf.matmul(rows, rows, transpose_b=True)


def value_and_gradient(function, rows):
    rows = tf.constant(rows)
    with tf.GradientTape() as tape:
        tape.watch(rows)
        value = function(rows)
    return value.numpy(), tape.gradient(value, rows).numpy()


# In every class a positive: Addons lets an anchor without one be its own.
@on_batches(even, two_or_more)
@pytest.mark.parametrize("distance", ["angular", one_minus_cosine])
def test_hard_triplets_are_those_of_addons(addons, labels, rows, distance):
    # Both are means over anchors.
    def their_loss(rows):
        return addons.triplet_hard_loss(
            labels, rows, margin=0.3, distance_metric=distance
        )

    rows = rows.astype("f4")
    values, gradient = ours(
        losses.triplet_loss, labels, rows, margin=0.3, selection="hard"
    )
    their = value_and_gradient(their_loss, rows)
    assert_same((values.mean(), gradient / len(rows)), their, rtol=1e-5, atol=1e-6)


# Without duplicates, of which Addons takes one and ours take a share each.
@on_batches(even, two_or_more, random_sizes)
@pytest.mark.parametrize("distance", ["angular", one_minus_cosine])
@pytest.mark.parametrize("margin", [0.1, 0.7])
def test_semi_hard_triplets_are_those_of_addons(addons, labels, rows, distance, margin):
    # Addons divides the sum over positive pairs by their number, which is not that of
    # anchors.
    def their_loss(rows):
        return addons.triplet_semihard_loss(
            labels, rows, margin=margin, distance_metric=distance
        )

    rows, pairs = rows.astype("f4"), masks(labels)[0].sum()
    values, gradient = ours(
        losses.triplet_loss, labels, rows, margin=margin, selection="semi_hard"
    )
    their = value_and_gradient(their_loss, rows)
    assert_same((values / pairs, gradient / pairs), their, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_n_pairs_with_one_positive_per_class_is_that_of_addons(addons, seed):
    # A mean over anchors, on similarities as they are: scale 1. With more positives
    # Addons has them all in one softmax, which is another loss.
    rng = np.random.default_rng(seed)
    queries, gallery, ids = unit_rows(rng, 7, 5), unit_rows(rng, 7, 5), np.arange(7)
    inputs = [tf.constant(queries), tf.constant(gallery)]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        units = [tf.math.l2_normalize(part, axis=1) for part in inputs]
        value = addons.npairs_loss(ids, tf.matmul(*units, transpose_b=True))
    gradients = [part.numpy() for part in tape.gradient(value, inputs)]
    our = ours(losses.n_pairs_loss, ids, queries, ids, gallery, scale=1.0)
    assert_same([part / 7 for part in our], (value.numpy(), *gradients))


@on_batches(even, random_sizes)
def test_contrastive_positives_are_half_of_those_of_addons(addons, labels, rows):
    # D^2 = 2 (1 - S). No negative is below a distance of 0 or above a similarity of 1.
    def their_loss(rows):
        rows = tf.math.l2_normalize(rows, axis=1)
        pairs = tf.constant(np.argwhere(masks(labels)[0]))
        first, second = (tf.gather(rows, pairs[:, side]) for side in (0, 1))
        distances = tf.norm(first - second, axis=1)
        same = tf.ones(tf.shape(distances), tf.int32)
        return tf.reduce_sum(addons.contrastive_loss(same, distances, margin=0.0)) / 2

    our = ours(losses.contrastive_loss, labels, rows, lambda_=1.0)
    assert_same(our, value_and_gradient(their_loss, rows))


@on_batches(even, random_sizes)
@pytest.mark.parametrize("margin", [0.6, 1.0, 1.3])
def test_contrastive_negatives_push_where_those_of_addons_do(
    addons, labels, rows, margin
):
    # D < margin where S > 1 - margin^2 / 2. Slopes differ: Addons squares the hinge.
    distances = tf.constant(np.linalg.norm(rows[:, None] - rows, axis=2))
    with tf.GradientTape() as tape:
        tape.watch(distances)
        same = masks(labels)[1] == 0
        value = addons.contrastive_loss(same, distances, margin=margin)
    pushing = masks(labels)[1] & (tape.gradient(value, distances).numpy() < 0)
    loss = losses.ContrastiveLoss(lambda_=1 - margin**2 / 2)
    weights = loss.pair_weights(labels, rows).numpy()
    assert 0 < pushing.sum() < masks(labels)[1].sum()
    np.testing.assert_array_equal(weights > 0, pushing)


# No test of lifted structure: Addons has Song's form, a squared hinge per positive pair
# over the negatives of both its rows, on Euclidean distances. That is another formula
# than Eq. 6 of the Multi-Similarity paper, a hinge per anchor over similarities.
