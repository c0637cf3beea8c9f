"""Multi-Similarity loss with General Pair Weighting for TensorFlow and Keras."""

from ms_keras.losses import KeptPairs, MultiSimilarityLoss, multi_similarity_loss

__version__ = "0.1.0"

__all__ = ["KeptPairs", "MultiSimilarityLoss", "multi_similarity_loss"]
