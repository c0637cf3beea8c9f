"""The engine: from labels and embeddings to losses, pair weights and gradients.

General Pair Weighting (paper section 3) says that a pair loss is mining plus weighting
and that its weights are its derivative by the similarities. A recipe brings these two;
everything that they share is here, once: unit-norm rows, masks, references gathered
across replicas, XLA, and the gradient by the embeddings built from the weights.
"""

from __future__ import annotations

import functools

import tensorflow as tf

from ms_keras.losses.matrix_core import MatrixCore
from ms_keras.losses.pairs import (
    Memory,
    among_themselves,
    checked,
    checked_references,
    query_gallery,
)
from ms_keras.losses.recipe import Mining, PairRecipe, Weighting
from ms_keras.losses.row_core import RowCore
from ms_keras.losses.summary import PairSummary


def pair_losses(
    recipe: PairRecipe,
    labels: tf.Tensor,
    embeddings: tf.Tensor,
    reference_labels: tf.Tensor | None = None,
    references: tf.Tensor | None = None,
    *,
    memory: Memory | None = None,
    block_size: int | None = None,
) -> tf.Tensor:
    """Returns the loss of every anchor; differentiable by all embeddings.

    Args:
        recipe: The mining and the weighting.
        labels: `[m]` or `[m, 1]` integer class ids of the anchors.
        embeddings: `[m, dim]` floats of any precision, normalised inside.
        reference_labels: `[n]` class ids of the references. Defaults to `None`: the
            anchors (of all replicas) are their own references, without self-pairs.
        references: `[n, dim]` floats. With references there is no self-pair.
        memory: Unit rows of earlier batches, which are references beside the anchors
            and get no gradient. Defaults to `None`.
        block_size: Anchors whose pairs are in memory at once. Defaults to `None`: all
            up to 67 million pairs, then as many as make 34 million. Recipes that need
            the matrix as a whole always have it.

    Returns:
        `[m]` losses, float32 (float64 for float64 embeddings).

    Raises:
        ValueError: If labels are not integer class ids of shape `[m]` or `[m, 1]`, or
            embeddings are not floats of shape `[m, dim]`; also if only one of
            `references` and `reference_labels` is given, or their shapes do not fit;
            or if references come with a memory.
    """
    labels, embeddings = checked(labels, embeddings)
    core = _core(recipe, block_size)
    if references is None and reference_labels is None:
        return core.batch_losses(labels, embeddings, memory)
    if memory is not None:
        raise ValueError(
            "memory goes with a batch among itself; got references as well. Append its "
            "rows to the references instead."
        )
    reference_labels, references = checked_references(
        reference_labels, references, embeddings
    )
    return core.reference_losses(labels, embeddings, reference_labels, references)


def pair_weights(
    recipe: PairRecipe,
    labels: tf.Tensor,
    embeddings: tf.Tensor,
    reference_labels: tf.Tensor | None = None,
    references: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns the signed weights `[m, n]`: d(sum of the anchors' losses) / dS.

    Arguments and errors are those of `pair_losses`; replicas do not see each other.
    """
    labels, embeddings = checked(labels, embeddings)
    if references is None and reference_labels is None:
        pairs = among_themselves(labels, embeddings)
    else:
        reference_labels, references = checked_references(
            reference_labels, references, embeddings
        )
        pairs = query_gallery(labels, embeddings, reference_labels, references)
    return _core(recipe).weights(pairs)


def pair_summary(
    recipe: PairRecipe,
    labels: tf.Tensor,
    embeddings: tf.Tensor,
    *,
    block_size: int | None = None,
) -> PairSummary:
    """Returns what happens to each anchor's pairs, against anchors of all replicas.

    Arguments and errors are those of `pair_losses`.
    """
    labels, embeddings = checked(labels, embeddings)
    return _core(recipe, block_size).batch_summary(labels, embeddings)


@functools.cache
def _core(recipe: PairRecipe, block_size: int | None = None) -> RowCore | MatrixCore:
    """Returns the recipe's compiled computations; by rows where its parts allow it."""
    if isinstance(recipe.mining, Mining) and isinstance(recipe.weighting, Weighting):
        return RowCore(recipe.mining, recipe.weighting, block_size)
    return MatrixCore(recipe)
