"""What a pair loss must bring to the engine: a mining and a weighting."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import tensorflow as tf

from ms_keras.losses.mining import Bounds


class Mining(Protocol):
    """Which pairs count, told by two bounds per anchor (see `mining.Bounds`)."""

    def bounds(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> Bounds:
        """Returns `[anchors]` bounds from `[anchors, references]` arguments."""


class Weighting(Protocol):
    """How hard each kept pair pulls.

    The engine asks for an anchor's statistics once and then for weights of single
    pairs given them, because the transposed weight W_ji follows from S_ij and the
    statistics of anchor j alone: no transpose and no second matmul.
    """

    def statistics(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Returns what the weights of an anchor need to know of its row: `[anchors]`s.

        Args:
            similarities: `[anchors, references]` float.
            positives: Mask of the kept positive pairs, same shape.
            negatives: Mask of the kept negative pairs, same shape.
        """

    def losses(self, statistics: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Returns the anchors' losses `[anchors]`."""

    def weights(
        self,
        similarities: tf.Tensor,
        positives: tf.Tensor,
        negatives: tf.Tensor,
        statistics: tuple[tf.Tensor, ...],
    ) -> tf.Tensor:
        """Returns d loss / d similarity, elementwise: 0 for pairs not kept.

        The statistics come broadcastable against the similarities.
        """


@dataclasses.dataclass(frozen=True)
class PairRecipe:
    """A pair loss: a mining and a weighting, both hashable."""

    mining: Mining
    weighting: Weighting
