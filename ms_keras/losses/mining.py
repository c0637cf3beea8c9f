"""Minings that are two similarity bounds per anchor."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from ms_keras.losses import masked
from ms_keras.losses.recipe import Bounds, Mining

INFINITY = float("inf")


@tf.keras.utils.register_keras_serializable(package="ms_keras")
@dataclasses.dataclass(frozen=True)
class NoMining(Mining):
    """Keeps every pair."""

    def bounds(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> Bounds:
        """Returns bounds that no similarity reaches."""
        wide = tf.fill(tf.shape(similarities)[:1], INFINITY)
        wide = tf.cast(wide, similarities.dtype)
        return Bounds(positive_below=wide, negative_above=-wide)


@tf.keras.utils.register_keras_serializable(package="ms_keras")
@dataclasses.dataclass(frozen=True)
class MultiSimilarityMining(Mining):
    """Keeps pairs that are hard relative to the anchor's pairs of the other sign.

    A negative counts if it is more similar than the least similar positive minus
    epsilon (paper Eq. 11); a positive counts if it is less similar than the most
    similar negative plus epsilon (Eq. 12). An anchor without pairs of one sign keeps
    none of the other.

    Attributes:
        epsilon: The margin, in units of cosine similarity. Defaults to `0.1`.
    """

    epsilon: float = 0.1

    def bounds(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> Bounds:
        """Returns each anchor's bounds from `[anchors, references]` similarities."""
        return Bounds(
            positive_below=masked.largest(similarities, negatives) + self.epsilon,
            negative_above=masked.least(similarities, positives) - self.epsilon,
        )


def keep(
    bounds: Bounds, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Applies broadcastable bounds to the masks of positives and negatives."""
    return (
        positives & (similarities < bounds.positive_below),
        negatives & (similarities > bounds.negative_above),
    )
