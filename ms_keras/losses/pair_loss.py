"""The Keras face of every pair loss: reduction, labels, saving, pair weights."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from ms_keras.losses import engine
from ms_keras.losses.labels import integer_labels, through_keras
from ms_keras.losses.mining import NoMining
from ms_keras.losses.recipe import (
    BatchWeighting,
    Mining,
    PairMining,
    PairRecipe,
    Part,
    Weighting,
)


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class PairLoss(tf.keras.losses.Loss):
    """A `tf.keras.losses.Loss` over all pairs of the global batch: mining + weighting.

    Any mining goes with any weighting; the losses that have a name are subclasses.

    `call` gives one value per anchor, so that Keras's reductions, `sample_weight` and
    the scaling by the number of replicas mean here what they mean elsewhere.

    Args:
        weighting: How hard each kept pair pulls.
        mining: Which pairs count. Defaults to `None`: all of them.
        reduction: Keras reduction over anchors: `"sum_over_batch_size"`, `"sum"`,
            `"none"`. Defaults to `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `"pair_loss"`.

    Raises:
        ValueError: If weighting or mining is something else. When called: if labels are
            not integer class ids of shape `[batch]` or `[batch, 1]`, or embeddings are
            not floats of shape `[batch, dim]`.

    Example:
    ```python
    loss = PairLoss(BinomialDevianceWeighting(), MultiSimilarityMining(epsilon=0.1))
    model.compile(optimizer="adam", loss=loss)
    ```
    """

    def __init__(
        self,
        weighting: Weighting | BatchWeighting,
        mining: Mining | PairMining | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "pair_loss",
    ) -> None:
        super().__init__(
            name=name, reduction="none" if reduction is None else reduction
        )
        self._recipe = recipe_of(weighting, mining)
        self._block_size: int | None = None

    @property
    def block_size(self) -> int | None:
        """Anchors whose pairs are in memory at once; may be set. Defaults to `None`.

        `None` keeps the matrix of all pairs up to 67 million of them (8,192 anchors
        among themselves) and takes larger batches in blocks. Blocks need a third
        matmul, little memory, and give the same numbers. Losses that need the matrix
        as a whole (triplets but the hardest, histogram, distance-weighted mining)
        always have it.
        """
        return self._block_size

    @block_size.setter
    def block_size(self, anchors: int | None) -> None:
        if anchors is not None and not (isinstance(anchors, int) and anchors > 0):
            raise ValueError(
                "block_size must be a number of anchors, 1 or more, or None to let the "
                f"batch decide; got {anchors!r}."
            )
        self._block_size = anchors

    @property
    def recipe(self) -> PairRecipe:
        """The mining and the weighting of this loss."""
        return self._recipe

    def __call__(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns the reduced loss of labels `[batch]`, embeddings `[batch, dim]`."""
        exact = through_keras(integer_labels(y_true))
        return super().__call__(exact, y_pred, sample_weight)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of every anchor: `[batch]` float32."""
        return engine.pair_losses(
            self.recipe, y_true, y_pred, block_size=self.block_size
        )

    def pair_weights(
        self,
        labels: tf.Tensor,
        embeddings: tf.Tensor,
        reference_labels: tf.Tensor | None = None,
        references: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns how hard each pair pulls: d(sum of per-anchor losses) / dS.

        Args:
            labels: `[m]` or `[m, 1]` integer class ids of the anchors.
            embeddings: `[m, dim]` floats, normalised inside.
            reference_labels: `[n]` class ids of the references. Defaults to the
                anchors' own.
            references: `[n, dim]` floats. Defaults to the anchors themselves, without
                self-pairs; with references given there is no self-pair.

        Returns:
            `[m, n]` floats: negative for positive pairs (which the loss pulls
            together), positive for negative pairs, 0 for pairs that were not kept.

        Raises:
            ValueError: As `__call__`, or if only one of the two references arguments
                is given.
        """
        return engine.pair_weights(
            self.recipe, labels, embeddings, reference_labels, references
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as plain JSON types."""
        serialize = tf.keras.utils.serialize_keras_object
        config = {**super().get_config(), "mining": serialize(self.recipe.mining)}
        if self.block_size is not None:
            config["block_size"] = self.block_size
        if type(self) is PairLoss:
            return {**config, "weighting": serialize(self.recipe.weighting)}
        # A subclass takes the weighting's parameters one by one.
        return {**config, **self.recipe.weighting.get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PairLoss:
        """Rebuilds the loss, its mining and its weighting from `get_config`."""
        parts = {
            name: tf.keras.utils.deserialize_keras_object(config[name])
            for name in ("mining", "weighting")
            if isinstance(config.get(name), dict)
        }
        config = {**config, **parts}
        block_size = config.pop("block_size", None)
        loss = cls(**config)
        loss.block_size = block_size
        return loss


def recipe_of(
    weighting: Weighting | BatchWeighting, mining: Mining | PairMining | None
) -> PairRecipe:
    """Returns the recipe of a weighting with a mining, or with none.

    Raises:
        ValueError: If one of them is something else.
    """
    mining = NoMining() if mining is None else mining
    _check_part("weighting", weighting, Weighting, BatchWeighting)
    _check_part("mining", mining, Mining, PairMining)
    return PairRecipe(mining=mining, weighting=weighting)


def _check_part(name: str, part: Any, *kinds: type[Part]) -> None:
    if not isinstance(part, kinds):
        names = " or a ".join(kind.__name__ for kind in kinds)
        raise ValueError(
            f"{name} must be a {names}, made, not its class; got {part!r}."
        )
