"""Training a tower with a memory of earlier batches."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from ms_keras.losses import PairLoss, engine
from ms_keras.training.memory import CrossBatchMemory


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class MemoryModel(tf.keras.Model):
    """Trains a tower whose batches are also compared with the batches before.

    A batch of 80 has few hard negatives; the embeddings of earlier batches, hardly out
    of date once learning is slow, bring thousands more that need not be embedded anew.
    They stand beside the batch among the references of each anchor, mining and
    weighting see both alike, and no gradient flows into them. Scoring leaves the memory
    alone.

    A network that changes fast, as from scratch at a high rate, may collapse with it:
    warm up longer, or remember less.

    Args:
        tower: A model from inputs to `[batch, dim]` embeddings. It is what is trained:
            save, export and score it as if it had been trained alone.
        size: How many embeddings are remembered, the oldest go first. Defaults to
            `8192`.
        warmup_steps: Steps until they take part. Embeddings change fast at first.
            Defaults to `0`.
        name: Name of the model. Defaults to `"memory_model"`.

    Raises:
        ValueError: If a size makes no sense; if compiled with what is no `PairLoss`.

    Example:
    ```python
    tower = ms_keras.build_tower("resnet50", embedding_dim=128)
    model = ms_keras.MemoryModel(tower, size=8192, warmup_steps=1000)
    model.compile(optimizer="adam", loss=ms_keras.MultiSimilarityLoss())
    model.fit(batches, steps_per_epoch=100, epochs=50)
    tower.save("tower.keras")
    ```

    Reference:
        Wang et al., "Cross-Batch Memory for Embedding Learning", CVPR 2020,
        https://arxiv.org/abs/1912.06798.
    """

    def __init__(
        self,
        tower: tf.keras.Model,
        size: int = 8192,
        warmup_steps: int = 0,
        name: str = "memory_model",
    ) -> None:
        super().__init__(name=name)
        self.tower = tower
        self.memory = CrossBatchMemory(size, tower.output_shape[-1], warmup_steps)

    def compile(
        self, optimizer: Any = "rmsprop", loss: PairLoss | None = None, **kwargs: Any
    ) -> None:
        """Configures training, as Keras's own does.

        Args:
            optimizer: As Keras's. Defaults to `"rmsprop"`, like there.
            loss: A pair loss; its `block_size` counts as it is now.
            **kwargs: What else Keras's takes. The metric `PairStatistics` tells of the
                pairs within a batch.

        Raises:
            ValueError: If the loss is another one.
        """
        if not isinstance(loss, PairLoss):
            raise ValueError(
                "A memory is for the losses of ms_keras, PairLoss; got loss="
                f"{loss!r}. Train the tower without a memory instead."
            )
        remembering = _RememberingLoss(loss, self.memory)
        super().compile(optimizer=optimizer, loss=remembering, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded model; Keras leaves that to whoever overrides `compile`."""
        self.compile(**tf.keras.utils.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Returns the tower's embeddings."""
        return self.tower(inputs, training=training)

    def train_step(self, data: Any) -> Any:
        """Takes a step, with the memory in use."""
        with self.memory.learning():
            return super().train_step(data)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments as plain JSON types."""
        return {
            "tower": tf.keras.utils.serialize_keras_object(self.tower),
            "size": self.memory.size,
            "warmup_steps": self.memory.warmup_steps,
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> MemoryModel:
        """Rebuilds the model, its tower and an empty memory from `get_config`."""
        tower = tf.keras.utils.deserialize_keras_object(
            config["tower"], custom_objects=custom_objects
        )
        return cls(**{**config, "tower": tower})


def tower_of(learner: tf.keras.Model) -> tf.keras.Model:
    """Returns the tower that a model trains: the one inside it, or itself."""
    return learner.tower if isinstance(learner, MemoryModel) else learner


@tf.keras.utils.register_keras_serializable(package="ms_keras")
class _RememberingLoss(PairLoss):
    """A pair loss that, while a model learns, remembers what it has seen."""

    def __init__(self, loss: PairLoss, memory: CrossBatchMemory) -> None:
        super().__init__(
            loss.recipe.weighting, loss.recipe.mining, loss.reduction, loss.name
        )
        self.block_size = loss.block_size
        self._loss = loss
        self._memory = memory

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss of every anchor: `[batch]` float32."""
        if not self._memory.is_learning:
            return super().call(y_true, y_pred)
        losses = engine.pair_losses(
            self.recipe,
            y_true,
            y_pred,
            memory=self._memory.contents(),
            block_size=self.block_size,
        )
        self._memory.remember(y_true, y_pred)
        return losses

    def get_config(self) -> dict[str, Any]:
        """Returns the loss alone: its model brings the memory."""
        return {"loss": tf.keras.utils.serialize_keras_object(self._loss)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PairLoss:
        """Returns the loss without memory, for the model to be compiled with."""
        return tf.keras.utils.deserialize_keras_object(config["loss"])
