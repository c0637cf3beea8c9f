"""Pair losses: an engine, and one small file per weighting."""

from ms_keras.losses.kept_pairs import KeptPairs
from ms_keras.losses.multi_similarity import (
    MultiSimilarityLoss,
    multi_similarity_loss,
)
from ms_keras.losses.pair_loss import PairLoss

__all__ = ["KeptPairs", "MultiSimilarityLoss", "PairLoss", "multi_similarity_loss"]
