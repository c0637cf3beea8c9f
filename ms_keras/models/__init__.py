"""Embedding towers: backbones and their weights."""

from ms_keras.models.tower import build_tower, features_of

__all__ = ["build_tower", "features_of"]
