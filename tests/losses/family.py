"""The losses that every shared test runs for; a new loss is one line here."""

import formulas
import numpy as np
import pytest
import tensorflow as tf

from ms_keras.losses import (
    BinLiftedLoss,
    BinomialDevianceLoss,
    BinomialDevianceWeighting,
    ContrastiveLoss,
    DistanceWeightedMining,
    HistogramLoss,
    LiftedStarLoss,
    LiftedStructureLoss,
    MarginLoss,
    MultiSimilarityLoss,
    MultiSimilarityMining,
    NCALoss,
    NPairsLoss,
    PairLoss,
    TripletLoss,
)

# A loss's constructor, and its formula per anchor.
BY_FORMULA = {
    "contrastive": (ContrastiveLoss, {}, formulas.contrastive),
    "triplet": (TripletLoss, {}, formulas.triplet),
    "triplet_semi_hard": (
        TripletLoss,
        {"selection": "semi_hard"},
        formulas.triplet_semi_hard,
    ),
    "triplet_hard": (TripletLoss, {"selection": "hard"}, formulas.triplet_hard),
    "lifted_structure": (LiftedStructureLoss, {}, formulas.lifted_structure),
    "lifted_star": (LiftedStarLoss, {}, formulas.lifted_star),
    "n_pairs": (NPairsLoss, {}, formulas.n_pairs),
    "nca": (NCALoss, {}, formulas.nca),
    "binomial": (BinomialDevianceLoss, {}, formulas.binomial_deviance),
    "binomial_scaled": (
        BinomialDevianceLoss,
        {"scaled": True},
        formulas.binomial_scaled,
    ),
    "bin_lifted": (BinLiftedLoss, {}, formulas.bin_lifted),
    "margin": (MarginLoss, {}, formulas.margin),
    "ms": (MultiSimilarityLoss, {}, formulas.mined(formulas.multi_similarity)),
    "ms_unmined": (MultiSimilarityLoss, {"mining": False}, formulas.multi_similarity),
    "ms_mining_with_binomial": (
        PairLoss,
        {
            "weighting": BinomialDevianceWeighting(),
            "mining": MultiSimilarityMining(0.1),
        },
        formulas.mined(formulas.binomial_deviance),
    ),
    "ms_mining_with_triplet": (
        TripletLoss,
        {"mining": MultiSimilarityMining(0.1)},
        formulas.mined(formulas.triplet),
    ),
}
# Those that are not a formula per anchor.
OTHERS = {
    "histogram": (HistogramLoss, {}),
    "ms_distance_weighted": (
        MultiSimilarityLoss,
        {"mining": DistanceWeightedMining()},
    ),
    "margin_distance_weighted": (MarginLoss, {"mining": DistanceWeightedMining()}),
}
ALL = [*BY_FORMULA, *OTHERS]
# A draw of pairs hangs on the last bit of the similarities, which compilers and devices
# round differently: only these give the same numbers in whatever way they are computed.
EXACT = [name for name in ALL if "distance_weighted" not in name]

# Options of `tf.function` for functions of float64 rows `[batch, 4]`.
however_traced = pytest.mark.parametrize(
    "options",
    [
        {},
        {"jit_compile": True},
        {"input_signature": [tf.TensorSpec([None, 4], tf.float64)]},
        {"input_signature": [tf.TensorSpec([None, None], tf.float64)]},
    ],
    ids=["graph", "xla", "batch unknown", "shape unknown"],
)


def make(name, /, **arguments):
    """Returns a loss of the family."""
    loss, parameters, *_ = {**BY_FORMULA, **OTHERS}[name]
    return loss(**parameters, **arguments)


def masks(labels, reference_labels=None):
    """Returns which pairs are positive and which negative."""
    others = labels if reference_labels is None else reference_labels
    same = np.equal.outer(labels, others)
    itself = np.eye(len(labels), dtype=bool) if reference_labels is None else False
    return same & ~itself, ~same


def tangent(gradient, rows):
    """Returns the part of a gradient along the sphere of unit rows."""
    return gradient - np.sum(gradient * rows, axis=1, keepdims=True) * rows


def rows_of(name, S, positive, negative, m=np):
    """Returns the losses of all anchors by the formula, from similarities."""
    formula = BY_FORMULA[name][2]
    columns = range(positive.shape[1])
    return [
        formula(
            [S[i][j] for j in columns if positive[i, j]],
            [S[i][j] for j in columns if negative[i, j]],
            m,
        )
        for i in range(len(positive))
    ]
