"""The anchor that is built for a row of similarities."""

import numpy as np
import tensorflow as tf

from ms_keras.analysis.anchor_row import row_weights


class Similarities:
    """A loss whose weights are the similarities, one more where labels agree."""

    def pair_weights(self, labels, embeddings, reference_labels, references):
        anchors = tf.math.l2_normalize(embeddings, axis=1)
        others = tf.math.l2_normalize(references, axis=1)
        same = tf.cast(labels[:, tf.newaxis] == reference_labels, tf.float64)
        return tf.matmul(anchors, others, transpose_b=True) + same


class Labels:
    def pair_weights(self, labels, embeddings, reference_labels, references):
        return tf.cast(reference_labels, tf.float64)[tf.newaxis]


def test_embeddings_have_the_similarities_asked_for():
    rng = np.random.default_rng(0)
    positives, negatives = rng.uniform(0, 1, (6, 3)), rng.uniform(0, 1, (6, 4))
    negatives[0] = 1, 0, 0.5, 1
    found = row_weights(Similarities(), positives, negatives)
    np.testing.assert_allclose(found[0], 1 + positives, atol=1e-12)
    np.testing.assert_allclose(found[1], negatives, atol=1e-12)


def test_positives_are_of_the_anchors_class_and_negatives_each_of_its_own():
    positives, negatives = row_weights(Labels(), np.zeros((2, 3)), np.zeros((2, 4)))
    assert positives.tolist() == [[0, 0, 0]] * 2
    assert negatives.tolist() == [[1, 2, 3, 4]] * 2
