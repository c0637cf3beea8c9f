"""TensorFlow Addons' metric losses, as baselines one can train with."""

from __future__ import annotations

import math
import types
import warnings
from typing import Any

import tensorflow as tf

from ms_keras.losses import replicas
from ms_keras.losses.labels import integer_labels, through_keras
from ms_keras.losses.pairs import checked

_OURS_INSTEAD = {
    "contrastive": "ContrastiveLoss()",
    "triplet_hard": 'TripletLoss(selection="hard")',
    "triplet_semihard": 'TripletLoss(selection="semi_hard")',
    "lifted": "LiftedStructureLoss()",
    "npairs": "NPairsLoss()",
}

ADDONS_LOSSES: tuple[str, ...] = tuple(_OURS_INSTEAD)


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class AddonsLoss(tf.keras.losses.Loss):
    """A metric loss of TensorFlow Addons over all pairs of the global batch.

    Addons' own code computes the value; this class brings what it leaves to its caller:
    unit-norm rows, pairs, exact class ids, the rows of all replicas under
    `tf.distribute` (with their gradients), and values where it divides by zero. D are
    Euclidean distances and S cosine similarities of the rows:

    - `"contrastive"`: mean over the unordered pairs of D^2 for positives and
      [margin - D]_+^2 for negatives.
    - `"triplet_hard"`: mean over anchors of [max_P D - min_N D + margin]_+. An anchor
      without positives has itself as its positive, at distance 0.
    - `"triplet_semihard"`: mean over positive pairs of [D_ap - D_an + margin]_+, where
      n is the nearest negative farther than p or, failing that, the farthest of all.
    - `"lifted"`: mean over the unordered positive pairs of
      1/2 [D_ij + log sum_{N_i and N_j} e^(margin - D)]_+^2. Its pairwise form is not
      Eq. 6 of the Multi-Similarity paper, which is `LiftedStructureLoss`.
    - `"npairs"`: mean over anchors of the cross-entropy between softmax(S_i) and the
      uniform distribution over the anchor's class, the anchor itself included.

    Each is one number for the batch. Every anchor carries it, so that Keras's
    reductions, `sample_weight` and the scaling by the number of replicas mean here what
    they mean elsewhere. It is 0 for a batch of fewer than two rows, for
    `"triplet_semihard"` without a positive pair, and for `"lifted"` without a positive
    or without a negative pair. Addons computes in float32, and holds several tensors of
    batch^3 numbers for `"triplet_semihard"` and `"lifted"`: half a gigabyte each for
    512 rows.

    Args:
        name_of_loss: One of `ADDONS_LOSSES`.
        margin: The margin of the losses that have one: all but `"npairs"`. Defaults to
            `None`: that of Addons, 1.
        reduction: Keras reduction over anchors: `"sum_over_batch_size"`, `"sum"`,
            `"none"`. Defaults to `"sum_over_batch_size"`.
        name: Name of the loss. Defaults to `None`: `"addons_"` and `name_of_loss`.

    Raises:
        ValueError: If the name is unknown, the margin is not finite or the loss has
            none, or TensorFlow Addons cannot be imported. When called: as
            `MultiSimilarityLoss`.

    Example:
    ```python
    model.compile(optimizer="adam", loss=AddonsLoss("triplet_semihard", margin=0.2))
    model.fit(images, class_ids, batch_size=80)
    ```

    Reference:
        https://www.tensorflow.org/addons/api_docs/python/tfa/losses, version 0.23.
    """

    def __init__(
        self,
        name_of_loss: str,
        margin: float | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
    ) -> None:
        if name_of_loss not in ADDONS_LOSSES:
            raise ValueError(
                f"name_of_loss must be one of {', '.join(ADDONS_LOSSES)}; got "
                f"{name_of_loss!r}."
            )
        if margin is not None and name_of_loss == "npairs":
            raise ValueError(
                f"npairs has no margin; got margin={margin}. Leave it out."
            )
        if margin is not None and not math.isfinite(margin):
            raise ValueError(f"margin must be finite; got {margin}.")
        _addons_losses(name_of_loss)  # missing packages show here, not while training
        super().__init__(
            name=f"addons_{name_of_loss}" if name is None else name,
            reduction="none" if reduction is None else reduction,
        )
        self._name_of_loss = name_of_loss
        self._margin = None if margin is None else float(margin)

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
        """Returns the global batch's loss once per anchor: `[batch]` float32."""
        labels, rows = checked(y_true, y_pred)
        # Addons' masks are float32 and meet no other dtype.
        all_rows = replicas.gather(tf.cast(rows, tf.float32))
        value = self._value(replicas.gather(labels), all_rows)
        return tf.fill([tf.shape(rows)[0]], value)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as plain JSON types."""
        arguments = {"name_of_loss": self._name_of_loss, "margin": self._margin}
        return {**super().get_config(), **arguments}

    def _value(self, labels: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        same = labels[:, tf.newaxis] == labels
        count = tf.shape(labels)[0]
        defined = count > 1
        if self._name_of_loss in ("triplet_semihard", "lifted"):
            positives = tf.math.count_nonzero(same, dtype=tf.int32) - count
            defined &= positives > 0
        if self._name_of_loss == "lifted":
            defined &= tf.reduce_any(~same)

        # Not tf.cond: XLA cannot compile the gradients of these functions inside it.
        @tf.custom_gradient
        def value_of(rows: tf.Tensor) -> tuple:
            with tf.GradientTape() as tape:
                tape.watch(rows)
                value = self._addons_value(same, rows)
            gradient = tape.gradient(value, rows)
            # Zero, but not a constant: NaN rows show also here.
            value = tf.where(defined, value, 0.0 * tf.reduce_sum(rows))
            gradient = tf.where(defined, gradient, tf.zeros_like(gradient))
            return value, lambda upstream: upstream * gradient

        return value_of(rows)

    def _addons_value(self, same: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        losses = _addons_losses(self._name_of_loss)
        # npairs casts labels to float32, which merges large ids: small ones instead.
        count = tf.shape(rows)[0]
        classes = tf.reduce_min(tf.where(same, tf.range(count), count), axis=1)
        margin = {} if self._margin is None else {"margin": self._margin}
        if self._name_of_loss == "contrastive":
            distances = losses.metric_learning.pairwise_distance(rows)
            values = losses.contrastive_loss(same, distances, **margin)
            # Symmetric, so the mean without the diagonal is that over pairs i < j.
            values = tf.linalg.set_diag(values, tf.zeros([count]))
            return tf.reduce_sum(values) / tf.cast(count * (count - 1), values.dtype)
        if self._name_of_loss == "npairs":
            return losses.npairs_loss(classes, tf.matmul(rows, rows, transpose_b=True))
        function = {
            "triplet_hard": losses.triplet_hard_loss,
            "triplet_semihard": losses.triplet_semihard_loss,
            "lifted": losses.lifted_struct_loss,
        }[self._name_of_loss]
        return function(classes, rows, **margin)


def _addons_losses(name_of_loss: str) -> types.ModuleType:
    """Imports `tensorflow_addons.losses`, or says where it can be had."""
    try:
        with warnings.catch_warnings():
            # Its end of life is known and is the reason why this import is lazy.
            ended = r"\s*TensorFlow Addons \(TFA\) has ended development"
            warnings.filterwarnings("ignore", ended, UserWarning)
            import tensorflow_addons
    except ImportError as error:
        raise ValueError(
            f"The loss {name_of_loss!r} of TensorFlow Addons was asked for, but "
            f"tensorflow_addons cannot be imported here (TensorFlow {tf.__version__}): "
            f"{error}. Addons ended in 2024; its last version, tensorflow-addons 0.23, "
            "works on Python 3.10-3.11 with TensorFlow 2.15. Of the losses of ms_keras "
            f"take {_OURS_INSTEAD[name_of_loss]} instead."
        ) from error
    return tensorflow_addons.losses
