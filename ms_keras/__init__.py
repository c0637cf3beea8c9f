"""Multi-Similarity loss with General Pair Weighting for TensorFlow and Keras."""

from ms_keras.losses import (
    BinLiftedLoss,
    BinomialDevianceLoss,
    ContrastiveLoss,
    HistogramLoss,
    LiftedStarLoss,
    LiftedStructureLoss,
    MarginLoss,
    MultiSimilarityLoss,
    NCALoss,
    NPairsLoss,
    PairLoss,
    PairStatistics,
    TripletLoss,
    bin_lifted_loss,
    binomial_deviance_loss,
    contrastive_loss,
    histogram_loss,
    lifted_star_loss,
    lifted_structure_loss,
    margin_loss,
    multi_similarity_loss,
    n_pairs_loss,
    nca_loss,
    triplet_loss,
)
from ms_keras.models.tower import build_tower
from ms_keras.retrieval.recall import recall_at_k
from ms_keras.training.memory_model import MemoryModel

__version__ = "0.1.0"

__all__ = [
    "BinLiftedLoss",
    "BinomialDevianceLoss",
    "ContrastiveLoss",
    "HistogramLoss",
    "LiftedStarLoss",
    "LiftedStructureLoss",
    "MarginLoss",
    "MemoryModel",
    "MultiSimilarityLoss",
    "NCALoss",
    "NPairsLoss",
    "PairLoss",
    "PairStatistics",
    "TripletLoss",
    "bin_lifted_loss",
    "binomial_deviance_loss",
    "build_tower",
    "contrastive_loss",
    "histogram_loss",
    "lifted_star_loss",
    "lifted_structure_loss",
    "margin_loss",
    "multi_similarity_loss",
    "n_pairs_loss",
    "nca_loss",
    "recall_at_k",
    "triplet_loss",
]
