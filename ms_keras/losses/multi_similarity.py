"""Multi-Similarity loss (Wang et al., CVPR 2019)."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from ms_keras.losses import engine, masked
from ms_keras.losses.exponential import ExponentialWeighting
from ms_keras.losses.mining import MultiSimilarityMining, NoMining
from ms_keras.losses.pair_loss import PairLoss, recipe_of
from ms_keras.losses.recipe import Mining, PairMining, PairRecipe


@tf.keras.utils.register_keras_serializable(package="ms_keras")
@dataclasses.dataclass(frozen=True)
class MultiSimilarityWeighting(ExponentialWeighting):
    """Each pair against a fixed similarity and against its anchor's other pairs.

    The statistics are the two logarithms of Eq. 15 before their scaling,
    log[1 + sum exp(x)]; the weight of a pair (Eq. 13, 14) is exp(x - logarithm).

    Attributes:
        alpha: Sharpness over positives. Defaults to `2.0`.
        beta: Sharpness over negatives. Defaults to `40.0`.
        lambda_: Similarity around which pairs start to matter. Defaults to `0.5`.
    """

    above_zero = ("alpha", "beta")

    alpha: float = 2.0
    beta: float = 40.0
    lambda_: float = 0.5

    def statistics(
        self, similarities: tf.Tensor, positives: tf.Tensor, negatives: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Returns the anchors' logarithms of positives and of negatives."""
        return (
            masked.log_one_plus_sum_exp(
                self._pull(similarities), positives, at_most=self._pull(-1.0)
            ),
            masked.log_one_plus_sum_exp(
                self._push(similarities), negatives, at_most=self._push(1.0)
            ),
        )

    def losses(self, statistics: tuple[tf.Tensor, ...]) -> tf.Tensor:
        """Returns the summands of Eq. 15."""
        positive, negative = statistics
        return positive / self.alpha + negative / self.beta

    @property
    def largest_exponent(self) -> float:
        """Small ones do not matter, beside the 1."""
        return max(self._pull(-1.0), self._push(1.0))

    def exponents(self, similarities: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the exponents of Eq. 15."""
        return self._pull(similarities), self._push(similarities)

    def log_factors(
        self, statistics: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the logarithms of Eq. 14 and 13 without their numerators."""
        positive, negative = statistics
        return -positive, -negative

    def _pull(self, similarities: Any) -> Any:
        return self.alpha * (self.lambda_ - similarities)

    def _push(self, similarities: Any) -> Any:
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
            have pairs of one sign only; another mining takes the place of Eq. 11 and
            12, and of epsilon. Defaults to `True`.
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
        mining: bool | Mining | PairMining = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "multi_similarity_loss",
    ) -> None:
        recipe = _recipe(alpha, beta, lambda_, epsilon, mining)
        super().__init__(recipe.weighting, recipe.mining, reduction, name)
        self._epsilon = float(epsilon)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as plain JSON types."""
        config = {**super().get_config(), "epsilon": self._epsilon}
        if isinstance(self.recipe.mining, NoMining):
            config["mining"] = False
        elif self.recipe.mining == MultiSimilarityMining(self._epsilon):
            config["mining"] = True
        return config


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
    mining: bool | Mining | PairMining = True,
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
    alpha: float,
    beta: float,
    lambda_: float,
    epsilon: float,
    mining: bool | Mining | PairMining,
) -> PairRecipe:
    own = MultiSimilarityMining(epsilon)  # also checks an epsilon that is not used
    if isinstance(mining, bool):
        mining = own if mining else NoMining()
    return recipe_of(MultiSimilarityWeighting(alpha, beta, lambda_), mining)
