"""The Keras face of every pair loss: reduction, labels, pair weights."""

from __future__ import annotations

import tensorflow as tf

from ms_keras.losses import engine
from ms_keras.losses.labels import integer_labels, split_labels


class PairLoss(tf.keras.losses.Loss):
    """A `tf.keras.losses.Loss` over all pairs of the global batch.

    A subclass says which recipe it is in its `recipe` property and lists its arguments
    in `get_config`; the engine does the rest.

    `call` gives one value per anchor, so that Keras's reductions, `sample_weight` and
    the scaling by the number of replicas mean here what they mean elsewhere.
    """

    def __init__(self, name: str, reduction: str | None) -> None:
        super().__init__(
            name=name, reduction="none" if reduction is None else reduction
        )

    @property
    def recipe(self) -> engine.PairRecipe:
        """The mining and the weighting of this loss."""
        raise NotImplementedError(f"{type(self).__name__} must define `recipe`.")

    def __call__(
        self,
        y_true: tf.Tensor,
        y_pred: tf.Tensor,
        sample_weight: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns the reduced loss of labels `[batch]`, embeddings `[batch, dim]`."""
        exact = split_labels(integer_labels(y_true))
        return super().__call__(exact, y_pred, sample_weight)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of every anchor: `[batch]` float32."""
        return engine.pair_losses(self.recipe, y_true, y_pred)

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
