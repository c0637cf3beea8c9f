"""The losses by name."""

from __future__ import annotations

from collections.abc import Callable

from ms_keras.losses.bin_lifted import BinLiftedLoss
from ms_keras.losses.binomial_deviance import BinomialDevianceLoss
from ms_keras.losses.contrastive import ContrastiveLoss
from ms_keras.losses.histogram import HistogramLoss
from ms_keras.losses.lifted_star import LiftedStarLoss
from ms_keras.losses.lifted_structure import LiftedStructureLoss
from ms_keras.losses.margin import MarginLoss
from ms_keras.losses.multi_similarity import MultiSimilarityLoss
from ms_keras.losses.n_pairs import NPairsLoss
from ms_keras.losses.nca import NCALoss
from ms_keras.losses.pair_loss import PairLoss
from ms_keras.losses.triplet import TripletLoss

LOSSES: dict[str, Callable[..., PairLoss]] = {
    "contrastive": ContrastiveLoss,
    "triplet": TripletLoss,
    "lifted_structure": LiftedStructureLoss,
    "lifted_star": LiftedStarLoss,
    "n_pairs": NPairsLoss,
    "nca": NCALoss,
    "histogram": HistogramLoss,
    "binomial_deviance": BinomialDevianceLoss,
    "bin_lifted": BinLiftedLoss,
    "margin": MarginLoss,
    "multi_similarity": MultiSimilarityLoss,
}
