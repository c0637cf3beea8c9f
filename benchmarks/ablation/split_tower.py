"""A tower cut in two: lower layers that stay as they are, upper ones that train."""

from __future__ import annotations

import tensorflow as tf

from ms_keras import build_tower

BACKBONE = "mobilenet_v2_0.35"
CUT = "block_12_add"  # the last layer below, its maps 1/16 of the image's size


class SplitTower:
    """A tower's lower and upper half, which share its weights.

    Both run in inference mode: batch norm normalises by the statistics that came with
    the weights, and its gamma and beta train in the upper half.

    Args:
        tower: A tower made by `build_tower` with the backbone above.

    Attributes:
        trainable_variables: Of the upper half and the embedding.
    """

    def __init__(self, tower: tf.keras.Model) -> None:
        network = tower.get_layer("backbone").layer
        maps = network.get_layer(CUT).output
        self._preprocessing = tower.get_layer("preprocessing")
        self._lower = tf.keras.Model(network.input, maps, name="lower")
        self._upper = tf.keras.Model(maps, network.output, name="upper")
        self._pooling = tower.get_layer("features")
        self._embedding = tower.get_layer("embedding")
        self._unit_rows = tower.get_layer("unit_rows")
        self.trainable_variables = [
            *self._upper.trainable_variables,
            *self._embedding.trainable_variables,
        ]

    def maps(self, images: tf.Tensor) -> tf.Tensor:
        """Returns what the upper half takes, of `[batch, size, size, 3]` images."""
        return self._lower(self._preprocessing(images), training=False)

    def features(self, maps: tf.Tensor) -> tf.Tensor:
        """Returns pooled features `[batch, channels]` of float32 maps."""
        return self._pooling(self._upper(maps, training=False))

    def embeddings(self, maps: tf.Tensor) -> tf.Tensor:
        """Returns `[batch, embedding_dim]` float32 rows of norm 1."""
        return self._unit_rows(self._embedding(self.features(maps)))


def tower_to_split(
    image_size: int, weights: str, embedding_dim: int, seed: int
) -> tf.keras.Model:
    """Builds the ablation's tower.

    Args:
        image_size: Height and width of the images, in pixels.
        weights: As in `build_tower`.
        embedding_dim: Length of an embedding.
        seed: Seed of the embedding's weights.

    Raises:
        ValueError: As `build_tower`.
    """
    tf.keras.utils.set_random_seed(seed)
    return build_tower(BACKBONE, embedding_dim, image_size, weights)
