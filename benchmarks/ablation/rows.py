"""The rows of the ablation: a loss each, and what the paper says of it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from functools import partial

import tensorflow as tf

from ms_keras import losses


@dataclasses.dataclass(frozen=True)
class Row:
    """A method of the comparison.

    Attributes:
        name: As the paper calls it.
        similarities: Which it makes use of: self (S), relative to other negatives (N),
            relative to positives (P); empty where the paper's table has no such row.
        paper: The paper's R@1 on Cars-196 at 64 dimensions, in %, if it has one.
        family: The weighting, shared by rows that differ in mining alone.
        mined: Whether pairs are mined as in the Multi-Similarity loss.
        loss: Makes the loss.
    """

    name: str
    similarities: str
    paper: float | None
    family: str
    mined: bool
    loss: Callable[[], tf.keras.losses.Loss]

    @property
    def slug(self) -> str:
        """The name as part of a path."""
        name = self.name.lower().replace("*", " star").replace("+", " with ")
        return re.sub(r"[^a-z0-9]+", "_", name)


_BETA = 40.0  # sharpness over negatives, that of the Multi-Similarity loss
# Scaled, as in the authors' code beside mining: by Eq. 9 as it stands, the negatives of
# an anchor would outweigh its positives 20 to 1, in this row alone.
_BINOMIAL = partial(losses.BinomialDevianceLoss, beta=_BETA, scaled=True)
_MINING = losses.MultiSimilarityMining(epsilon=0.1)

ROWS = (
    Row("Binomial", "S", 71.9, "binomial", False, _BINOMIAL),
    Row("Lifted*", "N", 69.7, "lifted", False, losses.LiftedStarLoss),
    Row(
        "MS mining only",
        "P",
        67.0,
        "equal",
        True,
        # No negative is below a lambda of -1: each pair that mining keeps weighs 1.
        partial(losses.ContrastiveLoss, lambda_=-1.0, mining=_MINING),
    ),
    Row(
        "BinLifted",
        "SN",
        70.4,
        "binlifted",
        False,
        partial(losses.BinLiftedLoss, beta=_BETA),
    ),
    Row(
        "MS weighting",
        "SN",
        73.2,
        "ms",
        False,
        partial(losses.MultiSimilarityLoss, mining=False),
    ),
    Row(
        "Binomial + MS mining",
        "SP",
        74.6,
        "binomial",
        True,
        partial(_BINOMIAL, mining=_MINING),
    ),
    Row(
        "Lifted* + MS mining",
        "NP",
        72.2,
        "lifted",
        True,
        partial(losses.LiftedStarLoss, mining=_MINING),
    ),
    Row("MS", "SNP", 77.3, "ms", True, losses.MultiSimilarityLoss),
    Row("Contrastive", "", None, "contrastive", False, losses.ContrastiveLoss),
    Row("Triplet", "", None, "triplet", False, losses.TripletLoss),
)


def find_row(name: str) -> Row:
    """Returns the row of a name.

    Raises:
        ValueError: If there is none.
    """
    for row in ROWS:
        if row.name == name:
            return row
    raise ValueError(
        f"There is no row {name!r}; expected one of "
        f"{', '.join(repr(row.name) for row in ROWS)}."
    )
