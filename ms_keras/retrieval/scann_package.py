"""The package scann: imported when needed, and told what to build."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np

from ms_keras.retrieval.scann_settings import ScannSettings


def import_scann(name: str) -> Any:
    """Returns a module of the package.

    Args:
        name: `"scann_ops"`, which speaks TensorFlow, or `"scann_ops_pybind"`, NumPy.

    Raises:
        ValueError: If it cannot be imported.
    """
    # Not at the head of a file: the package exists for Linux only.
    try:
        return importlib.import_module(f"scann.scann_ops.py.{name}")
    except ImportError as error:
        raise ValueError(
            "Approximate search needs the package scann, which cannot be imported here "
            f"({sys.platform}): {error}. It exists for Linux only: pip install scann, "
            "in the version that requirements.txt names. Exact search needs no package."
        ) from error


def build(module: Any, rows: np.ndarray, settings: ScannSettings) -> Any:
    """Returns a searcher of ScaNN's; the neighbours named here are asked for each time.

    Args:
        module: What `import_scann` returned.
        rows: `[n, dim]` float32 of norm 1.
        settings: What to do with them; they fit the rows.
    """
    builder = module.builder(rows, 1, "dot_product")
    sample = min(len(rows), settings.training_sample)
    if settings.leaves:
        builder = builder.tree(
            settings.leaves, settings.leaves_to_search, training_sample_size=sample
        )
    if not settings.reorder:
        return builder.score_brute_force().build()
    hashed = builder.score_ah(
        settings.dimensions_per_block,
        anisotropic_quantization_threshold=settings.anisotropic_threshold,
        training_sample_size=sample,
    )
    return hashed.reorder(settings.reorder).build()
