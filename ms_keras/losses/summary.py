"""What happens to an anchor's pairs, in a few numbers."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from ms_keras.losses import masked


class PairSummary(NamedTuple):
    """Sums over each anchor's pairs, `[anchors]` each.

    A pair counts as kept if its weight is not 0.
    """

    positives: tf.Tensor
    negatives: tf.Tensor
    kept_positives: tf.Tensor
    kept_negatives: tf.Tensor
    pull: tf.Tensor  # sum of |weight| of the positives
    push: tf.Tensor  # sum of |weight| of the negatives
    positive_similarity: tf.Tensor  # sum over all positives
    negative_similarity: tf.Tensor  # sum over all negatives


def summarise(
    weights: tf.Tensor,
    similarities: tf.Tensor,
    positives: tf.Tensor,
    negatives: tf.Tensor,
) -> PairSummary:
    """Sums up `[anchors, references]` weights and similarities row by row."""
    dtype, strength = similarities.dtype, tf.abs(weights)
    kept = strength > 0
    return PairSummary(
        positives=masked.count(positives, dtype),
        negatives=masked.count(negatives, dtype),
        kept_positives=masked.count(positives & kept, dtype),
        kept_negatives=masked.count(negatives & kept, dtype),
        pull=masked.total(strength, positives),
        push=masked.total(strength, negatives),
        positive_similarity=masked.total(similarities, positives),
        negative_similarity=masked.total(similarities, negatives),
    )
