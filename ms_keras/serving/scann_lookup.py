"""Near rows of a catalogue by ScaNN's TensorFlow ops, which stock TF Serving lacks."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import tensorflow as tf

from ms_keras.retrieval.scann_package import build, import_scann
from ms_keras.retrieval.scann_settings import ScannSettings

_MODULE = "scann_ops"
NOBODY = -1  # the index where ScaNN found no further row
_NOTHING = -1.0  # its score; JSON knows no infinity


class ScannLookup(tf.Module):
    """Looks where near rows are likely; may miss some.

    Args:
        rows: `[n, dim]` float32 of norm 1.
        settings: What ScaNN does with them.

    Attributes:
        rows: The variable that holds them, `[n, dim]` float32.

    Raises:
        ValueError: If the package `scann` cannot be imported.
    """

    def __init__(self, rows: np.ndarray, settings: ScannSettings) -> None:
        super().__init__()
        self._ops = import_scann(_MODULE)
        self._settings = settings
        searcher = build(self._ops, rows, settings)
        self.state = searcher.serialize_to_module()
        self.rows = self.state.dataset
        # One for all signatures: each would make a searcher of its own otherwise.
        self._shared_name = f"ms_keras-{uuid.uuid4()}"

    def nearest(self, queries: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns near rows.

        Args:
            queries: `[some, dim]` float32 of norm 1, one at least.
            k: How many; at most as there are rows.

        Returns:
            `[some, k]` int32 indices and float32 cosines, nearest first. Where there is
            nobody, the index is -1 and the cosine too.
        """
        settings = self._settings
        indices, scores = self._ops.scann_search_batched(
            self._handle(),
            queries,
            k,
            max(settings.reorder, k) if settings.reorder else -1,
            settings.leaves_to_search or -1,
            False,
        )
        found = ~tf.math.is_nan(scores)
        # Of all queries the one that finds the most says how wide its answer is.
        missing = [[0, 0], [0, k - tf.shape(scores)[1]]]
        indices = tf.where(found, indices, NOBODY)
        scores = tf.where(found, scores, _NOTHING)
        indices = tf.pad(indices, missing, constant_values=NOBODY)
        scores = tf.pad(scores, missing, constant_values=_NOTHING)
        return tf.ensure_shape(indices, [None, k]), tf.ensure_shape(scores, [None, k])

    def _handle(self) -> tf.Tensor:
        """Returns the searcher, which the first request makes of the variables."""
        state = self.state
        return self._ops.tensors_to_scann(
            state.dataset,
            state.scann_config,
            state.serialized_partitioner,
            state.datapoint_to_token,
            state.ah_codebook,
            state.hashed_dataset,
            state.int8_dataset,
            state.int8_multipliers,
            state.dp_norms,
            shared_name=self._shared_name,
        )


def op_library() -> Path:
    """Returns the file of the ops, for servers that load libraries.

    Raises:
        ValueError: If the package `scann` cannot be imported.
    """
    return Path(import_scann(_MODULE).__file__).parents[1] / "cc" / "_scann_ops.so"
