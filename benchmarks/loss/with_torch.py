"""Contenders in PyTorch: each makes a call that gives a loss and its gradient."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.loss.data import Batch

Call = Callable[[], tuple[float, np.ndarray]]


def pytorch_metric_learning(batch: Batch, loss: str, miner: bool = True) -> Call:
    """pytorch-metric-learning, with the parameters that ours have."""
    losses = importlib.import_module("pytorch_metric_learning.losses")
    miners = importlib.import_module("pytorch_metric_learning.miners")
    distances = importlib.import_module("pytorch_metric_learning.distances")
    cosine = distances.CosineSimilarity()
    mine: Any = None
    if loss == "multi_similarity":
        chosen = losses.MultiSimilarityLoss(alpha=2, beta=40, base=0.5)
        mine = miners.MultiSimilarityMiner(epsilon=0.1) if miner else None
    elif loss == "contrastive":
        chosen = losses.ContrastiveLoss(1, 0.5, distance=cosine)
    elif loss == "triplet":
        chosen = losses.TripletMarginLoss(
            0.1, distance=cosine, triplets_per_anchor="all"
        )
    elif loss == "triplet:hard":
        chosen = losses.TripletMarginLoss(0.1, distance=cosine)
        mine = miners.BatchHardMiner(distance=cosine)
    elif loss == "lifted_structure":
        chosen = losses.GeneralizedLiftedStructureLoss(1, 0, distance=cosine)
    elif loss == "nca":
        chosen = losses.NCALoss(softmax_scale=16.0, distance=cosine)
    elif loss == "margin":
        chosen = losses.MarginLoss()
    elif loss == "histogram":
        chosen = losses.HistogramLoss(n_bins=100, distance=cosine)
    else:
        raise ValueError(f"pytorch-metric-learning has no loss like {loss!r}.")

    def forward(rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return chosen(rows, labels, mine(rows, labels) if mine else None)

    return _call(forward, batch)


def loop(batch: Batch, loss: str) -> Call:
    """One anchor after another, the way the first public code went about it."""
    if loss != "multi_similarity":
        raise ValueError(f"The loop is of multi_similarity; got {loss!r}.")

    def forward(rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        similarities = rows @ rows.T
        losses = []
        for anchor in range(len(rows)):
            same = labels == labels[anchor]
            negative = similarities[anchor][~same]
            same[anchor] = False
            positive = similarities[anchor][same]
            kept_negative = negative[negative + 0.1 > positive.min()]
            kept_positive = positive[positive - 0.1 < negative.max()]
            if not len(kept_negative) or not len(kept_positive):
                continue
            pull = torch.log1p(torch.exp(-2 * (kept_positive - 0.5)).sum()) / 2
            push = torch.log1p(torch.exp(40 * (kept_negative - 0.5)).sum()) / 40
            losses.append(pull + push)
        # Nothing kept is a loss of 0 that has a gradient, of 0 too.
        return torch.stack([0 * similarities[0, 0], *losses]).sum() / len(rows)

    return _call(forward, batch)


def _call(
    forward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], batch: Batch
) -> Call:
    labels = torch.tensor(batch.labels)
    leaf = torch.tensor(batch.rows, requires_grad=True)

    def call() -> tuple[float, np.ndarray]:
        leaf.grad = None
        value = forward(leaf, labels)
        value.backward()
        assert leaf.grad is not None
        return value.item(), leaf.grad.numpy()

    return call
