"""What a pair loss must bring to the engine: a mining and a weighting.

Each is a frozen dataclass whose fields are its parameters; Keras saves it by them.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import tensorflow as tf


class Part:
    """A mining or a weighting: a frozen dataclass of plain parameters.

    Attributes:
        above_zero: Names of the fields that must be above 0. All float fields must be
            finite.
    """

    above_zero: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        """Checks the parameters.

        Raises:
            ValueError: If one is out of range.
        """
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            if field.type not in (float, "float"):
                continue
            value = float(getattr(self, field.name))
            if not math.isfinite(value):
                raise ValueError(f"{field.name} must be finite; got {value}.")
            if field.name in self.above_zero and value <= 0:
                raise ValueError(f"{field.name} must be above 0; got {value}.")
            object.__setattr__(self, field.name, value)

    def get_config(self) -> dict[str, Any]:
        """Returns the parameters as plain JSON types."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Part:
        """Rebuilds the part from `get_config`."""
        return cls(**config)


class Bounds(NamedTuple):
    """Per anchor: positives are kept below the one, negatives above the other.

    Shapes `[anchors]`, or broadcastable against similarities.
    """

    positive_below: tf.Tensor
    negative_above: tf.Tensor


class End(NamedTuple):
    """What the engine knows of a pair from one of its two ends, its anchor.

    All are broadcastable against similarities `[anchors, references]`.
    """

    positives: tf.Tensor  # which pairs the anchor keeps, bool
    negatives: tf.Tensor
    known: tuple[tf.Tensor, ...]  # what `Weighting.known_of_anchors` gives


class Mining(Part, abc.ABC):
    """Which pairs count, told by two bounds per anchor."""

    @abc.abstractmethod
    def bounds(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> Bounds:
        """Returns `[anchors]` bounds from `[anchors, references]` arguments."""


class PairMining(Part, abc.ABC):
    """Which pairs count, told pair by pair, where two bounds do not suffice."""

    @abc.abstractmethod
    def masks(
        self,
        similarities: tf.Tensor,
        positives: tf.Tensor,
        negatives: tf.Tensor,
        dim: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns which of the positives and of the negatives to keep.

        It is asked more than once for the same batch, and must answer the same.

        Args:
            similarities: `[anchors, references]` float.
            positives: Mask of the positive pairs, same shape.
            negatives: Mask of the negative pairs, same shape.
            dim: Length of an embedding, int32.
        """


class Weighting(Part, abc.ABC):
    """How hard each kept pair pulls, given a few numbers per anchor.

    The engine asks for an anchor's statistics once and then for weights of single
    pairs given them, because the transposed weight W_ji follows from S_ij and the
    statistics of anchor j alone: no transpose and no second matmul.
    """

    @abc.abstractmethod
    def statistics(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Returns what losses and weights need to know of a row: `[anchors]` each.

        Args:
            similarities: `[anchors, references]` float.
            positives: Mask of the kept positive pairs, same shape.
            negatives: Mask of the kept negative pairs, same shape.
        """

    @abc.abstractmethod
    def losses(self, statistics: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Returns the anchors' losses `[anchors]`."""

    @abc.abstractmethod
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

    def known_of_anchors(
        self, statistics: tuple[tf.Tensor, ...], upstream: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Returns what `summed_weights` needs to know of anchors: `[anchors]` each.

        To be overridden with it, where something can be computed anchor by anchor
        rather than pair by pair.
        """
        return *statistics, upstream

    def summed_weights(self, similarities: tf.Tensor, ends: Sequence[End]) -> tf.Tensor:
        """Returns the sum over a pair's ends of upstream x weight, elementwise.

        What `weights` gives decides; to be overridden where ends can share work.
        """
        summands = []
        for end in ends:
            *statistics, upstream = end.known
            masks = end.positives, end.negatives
            weights = self.weights(similarities, *masks, tuple(statistics))
            summands.append(upstream * weights)
        return tf.add_n(summands)


class BatchWeighting(Part, abc.ABC):
    """How hard each kept pair pulls, where a few numbers per anchor do not tell.

    Triplets are counted pair by pair, histograms are of the whole batch. The engine
    then keeps the matrix of weights, and each replica computes that of all replicas.
    """

    @abc.abstractmethod
    def losses(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tf.Tensor:
        """Returns the anchors' losses `[anchors]`.

        Args:
            similarities: `[anchors, references]` float.
            positives: Mask of the kept positive pairs, same shape.
            negatives: Mask of the kept negative pairs, same shape.
        """

    @abc.abstractmethod
    def weights(
        self,
        similarities: tf.Tensor,
        positives: tf.Tensor,
        negatives: tf.Tensor,
        upstream: tf.Tensor,
    ) -> tf.Tensor:
        """Returns d (sum over anchors of upstream x loss) / d similarity.

        Args:
            similarities: As for `losses`, like the two masks.
            positives: As for `losses`.
            negatives: As for `losses`.
            upstream: `[anchors]` factors on the anchors' losses.
        """


@dataclasses.dataclass(frozen=True)
class PairRecipe:
    """A pair loss: a mining and a weighting."""

    mining: Mining | PairMining
    weighting: Weighting | BatchWeighting
