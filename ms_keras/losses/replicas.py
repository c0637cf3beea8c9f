"""Pairs across replicas: every replica sees the whole global batch as references."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def gather(rows: tf.Tensor) -> tf.Tensor:
    """Concatenates `[local, ...]` rows of all replicas, in replica order.

    Outside `tf.distribute.Strategy.run`, and with one replica, returns `rows` itself.
    The replicas' row counts may differ.
    """
    context = _replica_context()
    if context is None:
        return rows
    # Gathering forgets the static shape; all but the number of rows is known.
    shape = tf.TensorShape([None]).concatenate(rows.shape[1:])
    return tf.ensure_shape(context.all_gather(rows, axis=0), shape)


def gather_together(vectors: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
    """Does what `gather` does to `[local]` vectors of one dtype, at one go."""
    if _replica_context() is None:
        return tuple(vectors)
    return tuple(tf.unstack(gather(tf.stack(vectors, axis=1)), axis=1))


def global_indices(local: tf.Tensor) -> tf.Tensor:
    """Returns where this replica's `local` rows stand in `gather`'s result: int32."""
    context = _replica_context()
    if context is None:
        return tf.range(local)
    # Counted, not replica id times local batch: the last batch may divide unevenly.
    starts = tf.cumsum(context.all_gather(local[tf.newaxis], axis=0), exclusive=True)
    return starts[context.replica_id_in_sync_group] + tf.range(local)


def own_rows(gathered: tf.Tensor, local: tf.Tensor) -> tf.Tensor:
    """Returns this replica's `local` of the rows of all, in `gather`'s order."""
    if _replica_context() is None:
        return gathered
    return tf.gather(gathered, global_indices(local))


def _replica_context() -> tf.distribute.ReplicaContext | None:
    context = tf.distribute.get_replica_context()
    # None in a cross-replica context, and while Keras 3 builds symbolically.
    if context is None or context.num_replicas_in_sync == 1:
        return None
    return context
