"""Each anchor's hardest triplet alone (batch-hard, Hermans et al., 2017)."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from ms_keras.losses import masked
from ms_keras.losses.recipe import Weighting


@tf.keras.utils.register_keras_serializable(package="ms_keras")
@dataclasses.dataclass(frozen=True)
class HardestTripletWeighting(Weighting):
    """The least similar positive against the most similar negative.

    Both weigh 1 while they violate the margin, and no other pair weighs anything. Pairs
    that are equally hard share that 1.

    Attributes:
        margin: How far the positive should be above the negative. Defaults to `0.1`.
    """

    margin: float = 0.1

    def statistics(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Returns the hinge, then by sign which pairs are hardest and their weight."""
        positive, positive_bar, count_of_positives = _largest(-similarities, positives)
        negative, negative_bar, count_of_negatives = _largest(similarities, negatives)
        # Without a positive or a negative it is the hinge of -inf.
        hinges = tf.nn.relu(positive + negative + self.margin)
        violating = tf.cast(hinges > 0, hinges.dtype)
        return (
            hinges,
            positive_bar,
            negative_bar,
            tf.math.divide_no_nan(violating, count_of_positives),
            tf.math.divide_no_nan(violating, count_of_negatives),
        )

    def losses(self, statistics: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Returns the anchors' hinges."""
        return statistics[0]

    def weights(
        self,
        similarities: tf.Tensor,
        positives: tf.Tensor,
        negatives: tf.Tensor,
        statistics: tuple[tf.Tensor, ...],
    ) -> tf.Tensor:
        """Returns the shares of the hardest pairs, negated for positives."""
        _, positive_bar, negative_bar, pull, push = statistics
        return masked.signed(
            positives & (-similarities > positive_bar),
            pull,
            negatives & (similarities > negative_bar),
            push,
        )


def _largest(
    values: tf.Tensor, kept: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns each row's largest kept value, a bar below it, and how often it is there.

    The bar is half-way to the next value: similarities that are read off from the other
    end of a pair, or multiplied anew for a block, may differ in the last bit.
    """
    largest = masked.largest(values, kept)
    column = tf.expand_dims(largest, 1)
    following = masked.largest(values, kept & (values < column))
    middle = (largest + following) / 2
    # Of neighbouring numbers the middle is one of the two.
    bar = tf.where(middle < largest, middle, following)
    return largest, bar, masked.count(kept & (values == column), values.dtype)
