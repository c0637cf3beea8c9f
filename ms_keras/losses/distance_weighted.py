"""Distance-weighted sampling of negatives (Wu et al., ICCV 2017)."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from ms_keras.losses import masked
from ms_keras.losses.recipe import PairMining

_FURTHEST = 1.99  # at distance 2 the density's logarithm is infinite


@tf.keras.utils.register_keras_serializable(package="ms_keras")
@dataclasses.dataclass(frozen=True)
class DistanceWeightedMining(PairMining):
    """Keeps all positives, and as many negatives, drawn evenly over distances.

    Random unit rows of many dimensions nearly all lie at distance sqrt(2), and with
    them most negatives. Here a negative at distance d is drawn with a chance that is
    inverse to the density of distances of random rows,

        q(d) ~ d^(dim - 2) (1 - d^2 / 4)^((dim - 3) / 2),

    each at most once per anchor. Where none is nearer than `furthest`, all negatives of
    the anchor have the same chance.

    The draw is a pure function of the similarities, to their last bit: both passes and
    all replicas draw the same pairs, and a batch that moved a little draws others.

    Attributes:
        cutoff: Distances are taken to be at least this, lest the nearest negatives,
            often wrongly labelled, are drawn every time. Defaults to `0.5`.
        furthest: Negatives beyond this distance are not drawn. Defaults to `1.4`.
    """

    above_zero = ("cutoff", "furthest")

    cutoff: float = 0.5
    furthest: float = 1.4

    def masks(
        self,
        similarities: tf.Tensor,
        positives: tf.Tensor,
        negatives: tf.Tensor,
        dim: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns all positives, and the negatives that were drawn."""
        scores = self._log_chances(similarities, negatives, dim)
        # Gumbel noise: the largest sums are a draw without replacement.
        scores += _gumbel_noise(similarities)
        wanted = tf.reduce_sum(tf.cast(positives, tf.int32), axis=1, keepdims=True)
        return positives, _largest(scores, wanted)

    def _log_chances(
        self, similarities: tf.Tensor, negatives: tf.Tensor, dim: tf.Tensor
    ) -> tf.Tensor:
        """Returns logarithms of chances up to a constant per row; -inf for none."""
        dim = tf.cast(dim, similarities.dtype)
        distances = tf.sqrt(tf.nn.relu(2.0 - 2.0 * similarities))
        near = negatives & (distances < self.furthest)
        distances = tf.clip_by_value(distances, self.cutoff, _FURTHEST)
        density = (dim - 2.0) * tf.math.log(distances)
        density += (dim - 3.0) / 2.0 * tf.math.log(1.0 - distances**2 / 4.0)
        anyone = tf.where(negatives, tf.zeros_like(density), -float("inf"))
        chances = tf.where(near, -density, -float("inf"))
        return tf.where(tf.reduce_any(near, axis=1, keepdims=True), chances, anyone)


def _gumbel_noise(similarities: tf.Tensor) -> tf.Tensor:
    """Returns noise of the similarities' shape, seeded by their bits.

    Bits add up as integers, exactly, in whatever order a device adds them.
    """
    bits = tf.bitcast(tf.cast(similarities, tf.float32), tf.int32)
    seed = tf.stack([tf.reduce_sum(bits), tf.size(bits)])
    uniform = tf.random.stateless_uniform(
        tf.shape(similarities), seed, minval=1e-7, maxval=1.0
    )
    return tf.cast(-tf.math.log(-tf.math.log(uniform)), similarities.dtype)


def _largest(scores: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Marks the `wanted` `[m, 1]` largest scores of each row, or all above -inf."""
    infinity = tf.constant(float("inf"), scores.dtype)

    def unfinished(drawn: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        return drawn < tf.reduce_max(wanted)

    def lower(drawn: tf.Tensor, least: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        below = tf.where(scores < least, scores, -infinity)
        following = masked.row_max(below, keepdims=True)
        return drawn + 1, tf.where(drawn < wanted, following, least)

    least = tf.fill(tf.shape(wanted), infinity)
    _, least = tf.while_loop(unfinished, lower, (0, least))
    return (scores >= least) & (scores > -infinity)
