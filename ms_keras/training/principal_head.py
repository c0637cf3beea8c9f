"""A last layer that begins as principal components instead of at random."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ms_keras.training.optimizers import HEAD

# Variances below this share of the largest are rounding of float32 features.
_LEAST_VARIANCE = 1e-7


def begin_as_components(tower: tf.keras.Model, features: np.ndarray) -> int:
    """Sets the last layer to the principal components of features.

    A random layer mixes what it is given; this one keeps what differs between images,
    and leaves out their mean. Each component is divided by the fourth root of its
    variance, half-way from leaving the largest in charge to whitening, which makes them
    all equal (Jegou and Chum, "Negative evidences and co-occurrences in image
    retrieval: the benefit of PCA and whitening", ECCV 2012). As a whole the layer is as
    large as a random one. Dimensions beyond the number of components keep what they
    began with.

    Args:
        tower: A model that `build_tower` made.
        features: `[n, channels]` of `features_of(tower)`, such as those of the training
            images.

    Returns:
        How many components there are, at most the tower's dimensions.

    Raises:
        ValueError: If the features have another shape, or are not all finite.
    """
    layer = tower.get_layer(HEAD)
    kernel, bias = layer.get_weights()
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or features.shape[1] != len(kernel) or not len(features):
        raise ValueError(
            f"Expected features [n, {len(kernel)}] of one image or more, as "
            f"features_of(tower) gives them; got shape {features.shape}."
        )
    if not np.isfinite(features).all():
        raise ValueError(
            "Features hold NaN or infinity, so that they have no principal components. "
            "Do the backbone's weights fit its preprocessing?"
        )
    components = _components(features - features.mean(axis=0), kernel.shape[1])
    count = components.shape[1]
    if count:
        kernel[:, :count] = components * np.sqrt(
            2 * len(kernel) * count / kernel.shape[1] / np.square(components).sum()
        )
    bias[:count] = -features.mean(axis=0) @ kernel[:, :count]
    layer.set_weights([kernel, bias])
    return count


def _components(centred: np.ndarray, most: int) -> np.ndarray:
    """Returns directions `[channels, count]` over fourth roots, the largest first."""
    variances, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    variances, axes = variances[::-1][:most], axes[:, ::-1][:, :most]
    kept = (variances > 0) & (variances > _LEAST_VARIANCE * variances[0])
    return axes[:, kept] * variances[kept] ** -0.25
