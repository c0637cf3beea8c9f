"""Which devices a run trains on."""

from __future__ import annotations

import tensorflow as tf


def choose_strategy() -> tf.distribute.Strategy:
    """Returns `MirroredStrategy` over all visible GPUs, if there are several.

    Which GPUs are visible is told by the environment's `CUDA_VISIBLE_DEVICES`.
    """
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()
