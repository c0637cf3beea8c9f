"""Pair losses: an engine, and one small file per weighting."""

from ms_keras.losses import masked
from ms_keras.losses.addons import AddonsLoss
from ms_keras.losses.bin_lifted import (
    BinLiftedLoss,
    BinLiftedWeighting,
    bin_lifted_loss,
)
from ms_keras.losses.binomial_deviance import (
    BinomialDevianceLoss,
    BinomialDevianceWeighting,
    binomial_deviance_loss,
)
from ms_keras.losses.contrastive import (
    ContrastiveLoss,
    ContrastiveWeighting,
    contrastive_loss,
)
from ms_keras.losses.distance_weighted import DistanceWeightedMining
from ms_keras.losses.exponential import ExponentialWeighting
from ms_keras.losses.family import LOSSES
from ms_keras.losses.hardest_triplet import HardestTripletWeighting
from ms_keras.losses.histogram import (
    HistogramLoss,
    HistogramWeighting,
    histogram_loss,
)
from ms_keras.losses.lifted_star import (
    LiftedStarLoss,
    LiftedStarWeighting,
    lifted_star_loss,
)
from ms_keras.losses.lifted_structure import (
    LiftedStructureLoss,
    LiftedStructureWeighting,
    lifted_structure_loss,
)
from ms_keras.losses.margin import MarginLoss, MarginWeighting, margin_loss
from ms_keras.losses.mining import MultiSimilarityMining, NoMining
from ms_keras.losses.multi_similarity import (
    MultiSimilarityLoss,
    MultiSimilarityWeighting,
    multi_similarity_loss,
)
from ms_keras.losses.n_pairs import NPairsLoss, NPairsWeighting, n_pairs_loss
from ms_keras.losses.nca import NCALoss, NCAWeighting, nca_loss
from ms_keras.losses.pair_loss import PairLoss
from ms_keras.losses.pair_statistics import PairStatistics
from ms_keras.losses.recipe import (
    BatchWeighting,
    Bounds,
    Mining,
    PairMining,
    PairRecipe,
    Weighting,
)
from ms_keras.losses.triplet import TripletLoss, TripletWeighting, triplet_loss

__all__ = [
    "LOSSES",
    "AddonsLoss",
    "BatchWeighting",
    "BinLiftedLoss",
    "BinLiftedWeighting",
    "BinomialDevianceLoss",
    "BinomialDevianceWeighting",
    "Bounds",
    "ContrastiveLoss",
    "ContrastiveWeighting",
    "DistanceWeightedMining",
    "ExponentialWeighting",
    "HardestTripletWeighting",
    "HistogramLoss",
    "HistogramWeighting",
    "LiftedStarLoss",
    "LiftedStarWeighting",
    "LiftedStructureLoss",
    "LiftedStructureWeighting",
    "MarginLoss",
    "MarginWeighting",
    "Mining",
    "MultiSimilarityLoss",
    "MultiSimilarityMining",
    "MultiSimilarityWeighting",
    "NCALoss",
    "NCAWeighting",
    "NPairsLoss",
    "NPairsWeighting",
    "NoMining",
    "PairLoss",
    "PairMining",
    "PairRecipe",
    "PairStatistics",
    "TripletLoss",
    "TripletWeighting",
    "Weighting",
    "bin_lifted_loss",
    "binomial_deviance_loss",
    "contrastive_loss",
    "histogram_loss",
    "lifted_star_loss",
    "lifted_structure_loss",
    "margin_loss",
    "masked",
    "multi_similarity_loss",
    "n_pairs_loss",
    "nca_loss",
    "triplet_loss",
]
