"""TensorFlow Addons' losses, called as their authors have them called."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.loss.data import Batch
from benchmarks.loss.with_tensorflow import Call, differentiated

_MARGIN = 0.1  # on cosines, as ours


def addons(batch: Batch, loss: str, jit: bool) -> Call:
    """A loss of Addons, of unit rows where it asks for them.

    Args:
        batch: Rows and labels.
        loss: `"triplet_hard"`, `"triplet_semihard"`, `"npairs"`, `"lifted"`, or
            `"contrastive"`, of all pairs.
        jit: Whether the step is compiled.
    """
    losses = importlib.import_module("tensorflow_addons.losses")
    works: dict[str, Callable[..., tf.Tensor]] = {
        "triplet_hard": _triplet(losses.triplet_hard_loss),
        # It divides by the positive pairs, ours by the anchors.
        "triplet_semihard": _triplet(
            losses.triplet_semihard_loss, _positives_per_anchor(batch.labels)
        ),
        "npairs": lambda labels, rows: losses.npairs_loss(
            labels, tf.matmul(rows, rows, transpose_b=True)
        ),
        "lifted": losses.lifted_struct_loss,
        "contrastive": lambda labels, rows: tf.reduce_mean(
            losses.contrastive_loss(
                labels[:, tf.newaxis] == labels,
                losses.metric_learning.pairwise_distance(rows),
            )
        ),
    }
    # The angular distance of the triplets normalises by itself; lifted structure asks
    # for rows that are not normalised.
    normalise = loss in ("npairs", "contrastive")
    return differentiated(works[loss], batch, jit, normalise)


def _triplet(function: Any, factor: float = 1.0) -> Callable[..., tf.Tensor]:
    return lambda labels, rows: (
        factor * function(labels, rows, margin=_MARGIN, distance_metric="angular")
    )


def _positives_per_anchor(labels: np.ndarray) -> float:
    sizes = np.bincount(labels)
    return float((sizes * (sizes - 1)).sum() / len(labels))
