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
    """pytorch-metric-learning, with the parameters that ours have.

    Where it can sum over pairs, triplets or anchors, it does, and the sum is divided by
    the number of anchors: that is our mean.
    """
    losses = importlib.import_module("pytorch_metric_learning.losses")
    miners = importlib.import_module("pytorch_metric_learning.miners")
    distances = importlib.import_module("pytorch_metric_learning.distances")
    reducers = importlib.import_module("pytorch_metric_learning.reducers")
    cosine = distances.CosineSimilarity()
    summed = {"distance": cosine, "reducer": reducers.SumReducer()}
    mine: Any = None
    anchors = len(batch.rows)
    if loss == "multi_similarity":
        chosen = losses.MultiSimilarityLoss(alpha=2, beta=40, base=0.5)
        mine = miners.MultiSimilarityMiner(epsilon=0.1) if miner else None
        anchors = 1  # a mean over them already
    elif loss == "contrastive":
        chosen = losses.ContrastiveLoss(pos_margin=1, neg_margin=0.5, **summed)
    elif loss == "triplet":
        chosen = losses.TripletMarginLoss(0.1, triplets_per_anchor="all", **summed)
    elif loss == "triplet:hard":
        chosen = losses.TripletMarginLoss(0.1, **summed)
        mine = miners.BatchHardMiner(distance=cosine)
    elif loss == "triplet:semi_hard":
        chosen = losses.TripletMarginLoss(0.1, **summed)
        mine = miners.TripletMarginMiner(
            0.1, type_of_triplets="semihard", distance=cosine
        )
    elif loss == "lifted_structure":
        chosen = losses.GeneralizedLiftedStructureLoss(
            pos_margin=1, neg_margin=0, **summed
        )
    elif loss == "nca":
        chosen = losses.NCALoss(softmax_scale=20.0, **summed)
    elif loss == "margin":
        chosen = losses.MarginLoss()
        anchors = 1
    elif loss == "histogram":
        chosen = losses.HistogramLoss(n_bins=150, distance=cosine)  # 151 nodes
        anchors = 1
    else:
        raise ValueError(f"pytorch-metric-learning has no loss like {loss!r}.")

    def forward(rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return chosen(rows, labels, mine(rows, labels) if mine else None) / anchors

    return _call(forward, batch)


def loop(batch: Batch, loss: str) -> Call:
    """One anchor after another, the way the first public code went about it."""
    if loss != "multi_similarity":
        raise ValueError(f"The loop is of multi_similarity; got {loss!r}.")

    def forward(rows: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        rows = torch.nn.functional.normalize(rows)
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
