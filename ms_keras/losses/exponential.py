"""Weightings in which a pair weighs an exponential over a sum of its anchor's."""

from __future__ import annotations

import abc
import functools
from collections.abc import Sequence

import tensorflow as tf

from ms_keras.losses import masked
from ms_keras.losses.recipe import End, Weighting

# exp(40) is 2e17: over a sum of ten thousand million of them, and times an upstream
# gradient of 1e-8, float32 still has 4e-36 for what one of an anchor's pairs weighs.
_ROOM = 40.0


class ExponentialWeighting(Weighting):
    """A pair weighs exp(x + f): x is its own and f its anchor's, each by sign.

    x is the same from both ends of a pair. Unless exp(x) could overflow it is computed
    once for W_ij and W_ji, and each end has a factor exp(f): on CPUs exponentials are
    what a pass over the pairs costs most.
    """

    @property
    @abc.abstractmethod
    def largest_exponent(self) -> float:
        """What no x exceeds; also in size, if small exponentials matter."""

    @abc.abstractmethod
    def exponents(self, similarities: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns x of each pair as a positive and as a negative one."""

    @abc.abstractmethod
    def log_factors(
        self, statistics: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns f of the anchors' positives and negatives; -inf for no weight."""

    def weights(
        self,
        similarities: tf.Tensor,
        positives: tf.Tensor,
        negatives: tf.Tensor,
        statistics: tuple[tf.Tensor, ...],
    ) -> tf.Tensor:
        """Returns exp(x + f), negated for positives."""
        pull, push = self.exponents(similarities)
        of_positives, of_negatives = self.log_factors(statistics)
        weights = tf.exp(tf.where(positives, pull + of_positives, push + of_negatives))
        return masked.signed(positives, weights, negatives, weights)

    def known_of_anchors(
        self, statistics: tuple[tf.Tensor, ...], upstream: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Returns upstream exp(f) of positives, negated, and of negatives, if safe."""
        if not self._can_share:
            return super().known_of_anchors(statistics, upstream)
        of_positives, of_negatives = self.log_factors(statistics)
        return -upstream * tf.exp(of_positives), upstream * tf.exp(of_negatives)

    def summed_weights(self, similarities: tf.Tensor, ends: Sequence[End]) -> tf.Tensor:
        """Returns the sum over ends, with one exponential for all if that is safe."""
        if not self._can_share:
            return super().summed_weights(similarities, ends)
        positives = functools.reduce(tf.logical_or, [end.positives for end in ends])
        shared = tf.exp(tf.where(positives, *self.exponents(similarities)))
        factors = [
            masked.chosen(end.positives, pull, end.negatives, push)
            for end in ends
            for pull, push in [end.known]
        ]
        return shared * tf.add_n(factors)

    @property
    def _can_share(self) -> bool:
        return self.largest_exponent <= _ROOM
