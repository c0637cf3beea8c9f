"""N-pairs loss (Sohn, NeurIPS 2016)."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from ms_keras.losses import engine, masked
from ms_keras.losses.pair_loss import PairLoss, recipe_of
from ms_keras.losses.recipe import Mining, PairMining, Weighting


@tf.keras.utils.register_keras_serializable(package="ms_keras")
@dataclasses.dataclass(frozen=True)
class NPairsWeighting(Weighting):
    """Each positive in a softmax against all negatives of its anchor.

    Attributes:
        scale: Factor on similarities. Defaults to `20.0`.
    """

    above_zero = ("scale",)

    scale: float = 20.0

    def statistics(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Returns the negatives' logarithm, a positive's share, pull and loss."""
        logits = self.scale * similarities
        negative = masked.log_sum_exp(logits, negatives, within=self.scale)
        per_positive = masked.share(positives, similarities.dtype)
        gap = negative[:, tf.newaxis] - logits
        pull = per_positive * masked.total(tf.sigmoid(gap), positives)
        losses = per_positive * masked.total(tf.nn.softplus(gap), positives)
        return negative, per_positive, pull, losses

    def losses(self, statistics: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Returns the anchors' losses."""
        return statistics[3]

    def weights(
        self,
        similarities: tf.Tensor,
        positives: tf.Tensor,
        negatives: tf.Tensor,
        statistics: tuple[tf.Tensor, ...],
    ) -> tf.Tensor:
        """Returns the derivative; a negative shares in the pull of all positives."""
        negative, per_positive, pull, _ = statistics
        logits = self.scale * similarities
        return self.scale * masked.signed(
            positives,
            per_positive * tf.sigmoid(negative - logits),
            negatives,
            pull * tf.exp(logits - negative),
        )


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class NPairsLoss(PairLoss):
    """N-pairs loss: each positive against all negatives of its anchor at once.

    For each anchor i, with cosine similarities S, positives P_i, negatives N_i:

        loss_i = mean_{p in P_i} log[1 + sum_{k in N_i} exp(scale (S_ik - S_ip))]

    Anchors that lack pairs of one sign give 0. With one positive per anchor this is
    Sohn's multi-class N-pair loss, and InfoNCE with temperature 1 / scale.

    Args:
        scale: Factor on similarities, above 0. Sohn leaves the norms of embeddings
            free and needs none; unit rows do, for with 1 all weights are nearly equal.
            Defaults to `20.0`.
        mining: Which pairs count. Defaults to `None`: all of them.
        reduction: Keras reduction over anchors. Defaults to `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `"n_pairs_loss"`.

    Raises:
        ValueError: If a parameter is out of range. When called: as `PairLoss`.

    Example:
    ```python
    model.compile(optimizer="adam", loss=ms_keras.NPairsLoss())
    ```

    Reference:
        Sohn, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective",
        NeurIPS 2016.
    """

    def __init__(
        self,
        scale: float = 20.0,
        mining: Mining | PairMining | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str = "n_pairs_loss",
    ) -> None:
        super().__init__(NPairsWeighting(scale), mining, reduction, name)


def n_pairs_loss(
    labels: tf.Tensor,
    embeddings: tf.Tensor,
    reference_labels: tf.Tensor | None = None,
    references: tf.Tensor | None = None,
    *,
    scale: float = 20.0,
    mining: Mining | PairMining | None = None,
) -> tf.Tensor:
    """Returns the N-pairs loss of every anchor: `[m]`.

    Args:
        labels: `[m]` or `[m, 1]` integer class ids.
        embeddings: `[m, dim]` floats of any precision, normalised inside.
        reference_labels: `[n]` class ids. Defaults to `None`: the anchors are their
            own references, without self-pairs.
        references: `[n, dim]` floats. Defaults to `None`.
        scale: See `NPairsLoss`.
        mining: See `NPairsLoss`.

    Raises:
        ValueError: As `NPairsLoss`; also if only one of `references` and
            `reference_labels` is given.
    """
    recipe = recipe_of(NPairsWeighting(scale), mining)
    return engine.pair_losses(recipe, labels, embeddings, reference_labels, references)
