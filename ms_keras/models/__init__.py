"""Embedding towers: backbones, their weights, and the towers' way into serving."""

from ms_keras.models.tower import build_tower, features_of

__all__ = ["build_tower", "features_of"]
