"""Anchors against references: unit rows, masks, and the checks at the door."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from ms_keras.losses import replicas
from ms_keras.losses.compiling import are_few
from ms_keras.losses.labels import integer_labels
from ms_keras.losses.rows import unit_rows_of_a_loss


class Memory(NamedTuple):
    """Unit rows of earlier batches, for the anchors of a batch to be compared with."""

    rows: tf.Tensor  # [n, dim]
    labels: tf.Tensor  # [n] int64
    filled: tf.Tensor  # [n] bool; what stands at other places forms no pairs


class PairBatch(NamedTuple):
    """Unit-norm anchors against unit-norm references.

    `self_indices` tells which reference each anchor itself is, so that self-pairs are
    left out by position and true duplicates stay; -1 where it is none of them.
    """

    anchors: tf.Tensor  # [m, dim]
    references: tf.Tensor  # [n, dim]
    anchor_labels: tf.Tensor  # [m] int64
    reference_labels: tf.Tensor  # [n] int64
    self_indices: tf.Tensor  # [m] int32
    filled: tf.Tensor | None = None  # [n] bool, with a memory: which references count

    def and_memory(self, memory: Memory | None) -> PairBatch:
        """Returns the anchors against the rows of a memory too, after the others."""
        if memory is None:
            return self
        rows = tf.cast(tf.stop_gradient(memory.rows), self.references.dtype)
        batch = tf.ones(tf.shape(self.reference_labels), tf.bool)
        return self._replace(
            references=tf.concat([self.references, rows], axis=0),
            reference_labels=tf.concat([self.reference_labels, memory.labels], axis=0),
            filled=tf.concat([batch, memory.filled], axis=0),
        )

    def of_anchors(self, rows: tf.Tensor) -> PairBatch:
        """Returns some of the anchors, by their indices, against all references."""
        return self._replace(
            anchors=tf.gather(self.anchors, rows),
            anchor_labels=tf.gather(self.anchor_labels, rows),
            self_indices=tf.gather(self.self_indices, rows),
        )

    def similarities(self) -> tf.Tensor:
        """Returns cosine similarities `[m, n]`."""
        return tf.matmul(self.anchors, self.references, transpose_b=True)

    def masks(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns which pairs are positive and which negative, `[m, n]` bool each."""
        same = _equal(self.anchor_labels, self.reference_labels)
        columns = tf.range(tf.shape(self.references)[0])
        itself = self.self_indices[:, tf.newaxis] == columns
        if self.filled is None:
            return same & ~itself, ~same
        return same & ~itself & self.filled, ~same & self.filled


def _equal(anchor_labels: tf.Tensor, reference_labels: tf.Tensor) -> tf.Tensor:
    """Tells which int64 labels are the same: `[m, n]` bool."""
    if are_few((anchor_labels, reference_labels)):
        return anchor_labels[:, tf.newaxis] == reference_labels
    # Two comparisons of int32 take less than one of int64, which is twice as wide as
    # the similarities that it chooses among.
    anchors, references = (
        tf.unstack(tf.bitcast(labels, tf.int32), axis=1)
        for labels in (anchor_labels, reference_labels)
    )
    same, and_same = (
        own[:, tf.newaxis] == other
        for own, other in zip(anchors, references, strict=True)
    )
    return same & and_same


def batch_against_all(
    labels: tf.Tensor, anchors: tf.Tensor, all_labels: tf.Tensor
) -> PairBatch:
    """Returns this replica's anchors against those of all replicas."""
    return PairBatch(
        anchors=anchors,
        references=replicas.gather(anchors),
        anchor_labels=labels,
        reference_labels=all_labels,
        self_indices=replicas.global_indices(tf.shape(anchors)[0]),
    )


def among_themselves(labels: tf.Tensor, anchors: tf.Tensor) -> PairBatch:
    """Returns anchors against each other, without regard to replicas."""
    rows = tf.range(tf.shape(anchors)[0])
    return PairBatch(anchors, anchors, labels, labels, rows)


def query_gallery(
    labels: tf.Tensor,
    anchors: tf.Tensor,
    reference_labels: tf.Tensor,
    references: tf.Tensor,
) -> PairBatch:
    """Returns anchors against separate references: there are no self-pairs."""
    nowhere = tf.fill([tf.shape(anchors)[0]], -1)
    return PairBatch(anchors, references, labels, reference_labels, nowhere)


def checked(
    labels: tf.Tensor, embeddings: tf.Tensor, what: str = ""
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns int64 labels `[batch]` and unit rows `[batch, dim]`, or raises."""
    embeddings_name, labels_name = (
        (f"{what}s", f"{what}_labels") if what else ("embeddings", "labels")
    )
    embeddings = tf.convert_to_tensor(embeddings)
    if not embeddings.dtype.is_floating:
        raise ValueError(
            f"{embeddings_name} must be floating point; got {embeddings.dtype.name}. "
            "Labels come first, embeddings second."
        )
    if embeddings.shape.rank not in (None, 2):
        raise ValueError(
            f"{embeddings_name} must have shape [batch, dim]; got {embeddings.shape}. "
            "Pool or flatten feature maps before the loss."
        )
    labels = integer_labels(labels, labels_name)
    if not labels.shape.is_compatible_with(embeddings.shape[:1]):
        raise ValueError(
            f"{labels_name} and {embeddings_name} must have the same batch; got "
            f"{labels.shape[0]} labels and {embeddings.shape[0]} rows."
        )
    batch = labels.shape.merge_with(embeddings.shape[:1])
    if batch != embeddings.shape[:1]:  # what is known of the one holds for the other
        embeddings = tf.ensure_shape(embeddings, [batch[0], None])
    elif batch != labels.shape:
        labels = tf.ensure_shape(labels, batch)
    if embeddings.dtype != tf.float64:  # halves lose S, and overflow at exp(beta S)
        embeddings = tf.cast(embeddings, tf.float32)
    return labels, unit_rows_of_a_loss(embeddings)


def checked_references(
    reference_labels: tf.Tensor | None,
    references: tf.Tensor | None,
    embeddings: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the references' labels and unit rows, fit for `embeddings`, or raises."""
    if references is None or reference_labels is None:
        missing = "references" if references is None else "reference_labels"
        raise ValueError(
            f"references and reference_labels go together; got {missing}=None."
        )
    reference_labels, references = checked(reference_labels, references, "reference")
    if not references.shape[1:].is_compatible_with(embeddings.shape[1:]):
        raise ValueError(
            "references and embeddings must have the same dim; got "
            f"{references.shape[1]} and {embeddings.shape[1]}."
        )
    return reference_labels, tf.cast(references, embeddings.dtype)
