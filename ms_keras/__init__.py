"""Multi-Similarity loss with General Pair Weighting for TensorFlow and Keras."""

from ms_keras.losses import KeptPairs, MultiSimilarityLoss, multi_similarity_loss
from ms_keras.models.tower import build_tower
from ms_keras.retrieval.exact import recall_at_k

__version__ = "0.1.0"

__all__ = [
    "KeptPairs",
    "MultiSimilarityLoss",
    "build_tower",
    "multi_similarity_loss",
    "recall_at_k",
]
