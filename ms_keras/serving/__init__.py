"""Towers and catalogues as TF Serving loads them, and how to ask for them."""

from ms_keras.serving.options import ServingOptions
from ms_keras.serving.tower import save_serving_model

__all__ = ["ServingOptions", "save_serving_model"]
