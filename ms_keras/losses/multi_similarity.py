"""Multi-Similarity loss (Wang et al., CVPR 2019)."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from ms_keras.losses import engine
from ms_keras.losses.mining import MultiSimilarityMining, NoMining
from ms_keras.losses.pair_loss import PairLoss


@dataclasses.dataclass(frozen=True)
class MultiSimilarityWeighting:
    """Each pair against a fixed similarity and against its anchor's other pairs.

    The statistics are the two logarithms of Eq. 15 before their scaling,
    log[1 + sum exp(x)]; the weight of a pair (Eq. 13, 14) is exp(x - logarithm).
    """

    alpha: float
    beta: float
    lambda_: float

    def statistics(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the anchors' logarithms of positives and of negatives."""
        return (
            _log_one_plus_sum_exp(self._positive_exponents(similarities), positives),
            _log_one_plus_sum_exp(self._negative_exponents(similarities), negatives),
        )

    def losses(self, statistics: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Returns the summands of Eq. 15."""
        positive, negative = statistics
        return positive / self.alpha + negative / self.beta

    def weights(
        self,
        similarities: tf.Tensor,
        positives: tf.Tensor,
        negatives: tf.Tensor,
        statistics: tuple[tf.Tensor, ...],
    ) -> tf.Tensor:
        """Returns minus Eq. 14 for positives and Eq. 13 for negatives."""
        positive, negative = statistics
        pull = -tf.exp(self._positive_exponents(similarities) - positive)
        push = tf.exp(self._negative_exponents(similarities) - negative)
        nothing = tf.zeros_like(similarities)
        return tf.where(positives, pull, tf.where(negatives, push, nothing))

    def _positive_exponents(self, similarities: tf.Tensor) -> tf.Tensor:
        return self.alpha * (self.lambda_ - similarities)

    def _negative_exponents(self, similarities: tf.Tensor) -> tf.Tensor:
        return self.beta * (similarities - self.lambda_)


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class MultiSimilarityLoss(PairLoss):
    """Multi-Similarity loss: mining by relative, weighting by all similarities.

    For each anchor i of a batch of m, with cosine similarities S, kept positives P_i
    and kept negatives N_i (paper Eq. 15):

        loss_i = 1/alpha log[1 + sum_{k in P_i} exp(-alpha (S_ik - lambda))]
               + 1/beta  log[1 + sum_{k in N_i} exp( beta (S_ik - lambda))]

    A negative is kept if S_ij > min over positives S_ik - epsilon (Eq. 11), a positive
    if S_ij < max over negatives S_ik + epsilon (Eq. 12), so that anchors without a
    positive or without a negative contribute 0; they still count in the mean. Under
    `tf.distribute` the pairs span the global batch, with exact gradients.

    The defaults are those of the authors' released code. The paper's text prints
    `beta=50, lambda_=1`; with these a lone negative weighs 2e-9 at similarity 0.6 and
    reaches 0.5 only at similarity 1 (0.98 and 1 with the defaults), so negatives teach
    next to nothing until they almost coincide with their anchor.

    Args:
        alpha: Sharpness over positives, above 0. Defaults to `2.0`.
        beta: Sharpness over negatives, above 0. Defaults to `40.0`.
        lambda_: Similarity around which pairs start to matter. Defaults to `0.5`.
        epsilon: Margin of the mining, in cosine similarity. Defaults to `0.1`.
        mining: Whether to mine pairs. `False` weights all of them, also of anchors that
            have pairs of one sign only. Defaults to `True`.
        reduction: Keras reduction over anchors: `"sum_over_batch_size"`, `"sum"`,
            `"none"`. Defaults to `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `"multi_similarity_loss"`.

    Raises:
        ValueError: If alpha or beta is not above 0, or a parameter is not finite. When
            called: if labels are not integer class ids of shape `[batch]` or
            `[batch, 1]`, or embeddings are not floats of shape `[batch, dim]`.

    Example:
    ```python
    model.compile(optimizer="adam", loss=ms_keras.MultiSimilarityLoss())
    model.fit(images, class_ids, batch_size=80)
    ```

    Reference:
        Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric
        Learning", CVPR 2019, https://arxiv.org/abs/1904.06627.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 40.0,
        lambda_: float = 0.5,
        epsilon: float = 0.1,
        mining: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "multi_similarity_loss",
    ) -> None:
        super().__init__(name=name, reduction=reduction)
        self._parameters: dict[str, Any] = {
            "alpha": float(alpha),
            "beta": float(beta),
            "lambda_": float(lambda_),
            "epsilon": float(epsilon),
            "mining": bool(mining),
        }
        self._recipe = _recipe(**self._parameters)

    @property
    def recipe(self) -> engine.PairRecipe:
        """The mining and the weighting of this loss."""
        return self._recipe

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as plain JSON types."""
        return {**super().get_config(), **self._parameters}


def multi_similarity_loss(
    labels: tf.Tensor,
    embeddings: tf.Tensor,
    reference_labels: tf.Tensor | None = None,
    references: tf.Tensor | None = None,
    *,
    alpha: float = 2.0,
    beta: float = 40.0,
    lambda_: float = 0.5,
    epsilon: float = 0.1,
    mining: bool = True,
) -> tf.Tensor:
    """Returns the Multi-Similarity loss of every anchor.

    Args:
        labels: `[m]` or `[m, 1]` integer class ids.
        embeddings: `[m, dim]` floats of any precision, normalised inside.
        reference_labels: `[n]` class ids of the references. Defaults to `None`: the
            anchors (of all replicas) are their own references, without self-pairs.
        references: `[n, dim]` floats. With references there is no self-pair.
        alpha: See `MultiSimilarityLoss`, as for the remaining arguments.
        beta: See `MultiSimilarityLoss`.
        lambda_: See `MultiSimilarityLoss`.
        epsilon: See `MultiSimilarityLoss`.
        mining: See `MultiSimilarityLoss`.

    Returns:
        `[m]` losses, float32 (float64 for float64 embeddings).

    Raises:
        ValueError: As `MultiSimilarityLoss`; also if only one of `references` and
            `reference_labels` is given, or their shapes do not fit.
    """
    recipe = _recipe(alpha, beta, lambda_, epsilon, mining)
    return engine.pair_losses(recipe, labels, embeddings, reference_labels, references)


def _recipe(
    alpha: float, beta: float, lambda_: float, epsilon: float, mining: bool
) -> engine.PairRecipe:
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be above 0 and finite; got {value}.")
    for name, value in (("lambda_", lambda_), ("epsilon", epsilon)):
        if not abs(value) < float("inf"):
            raise ValueError(f"{name} must be finite; got {value}.")
    return engine.PairRecipe(
        mining=MultiSimilarityMining(epsilon) if mining else NoMining(),
        weighting=MultiSimilarityWeighting(alpha, beta, lambda_),
    )


def _log_one_plus_sum_exp(exponents: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """Returns log(1 + sum over kept of exp(x)) per row, without overflow."""
    exponents = tf.where(kept, exponents, -float("inf"))
    # The 1 is exp(0), so 0 takes part in the maximum: an empty row gives log(1).
    largest = tf.maximum(tf.reduce_max(exponents, axis=1), 0.0)
    total = tf.reduce_sum(tf.exp(exponents - largest[:, tf.newaxis]), axis=1)
    return largest + tf.math.log(tf.exp(-largest) + total)
