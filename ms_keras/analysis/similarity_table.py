"""Which of the three similarities each loss looks at: paper Table 1, computed.

A loss looks at one of the similarities S, N and P of a pair (see `reactions` for what
moves and what stays) if the pair's weight changes when only that one moves. Hinges,
thresholds and mining bounds make a loss blind in some places, so the question is asked
at many random anchors and for moves of random size; one answer of yes suffices. The
share of anchors that answer yes tells a habit from an exception.

The histogram loss reacts to S through its bins only, which stay when everything moves:
moved by a whole number of bins, its weights stay too.

A change counts if it is more than `TOLERANCE` of the larger of the two weights, and
that larger one is at least `NEGLIGIBLE` of the largest weight the loss gave in all
trials: changes among weights that could as well be zero are none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ms_keras.analysis.reactions import (
    PAIRS,
    SIMILARITIES,
    first_pairs_weights,
    moved_rows,
)
from ms_keras.losses import PairLoss

ANCHORS = 100
TOLERANCE = 0.01
NEGLIGIBLE = 1e-6
SEED = 0

# The ticks of the paper's Table 1, for the weight of one negative pair.
PUBLISHED = {
    "n_pairs": "N",
    "nca": "NP",
    "histogram": "P",
    "contrastive": "S",
    "triplet": "P",
    "lifted_structure": "N",
    "binomial_deviance": "S",
    "bin_lifted": "SN",
    "multi_similarity": "SNP",
}

HEADER = (
    "loss",
    "pair",
    "similarity",
    "anchors_reacting",
    "reacts",
    "paper",
    "verdict",
)


class Shares(NamedTuple):
    """The share of anchors, 0 to 1, at which a pair's weight reacts to each."""

    S: float
    N: float
    P: float

    @property
    def ticks(self) -> str:
        """The similarities that the weight reacts to anywhere, like `"SN"`."""
        return "".join(which for which in SIMILARITIES if getattr(self, which) > 0)


Table = dict[tuple[str, str], Shares]


def reaction_shares(loss: PairLoss, pair: str) -> Shares:
    """Returns how often the weight of a pair reacts to each of its similarities.

    Each anchor has 4 positives and 5 negatives, all at similarities between -0.1 and
    0.7, which move by 0.02 to 0.3 up or down.

    Args:
        loss: Whose weights.
        pair: The kind of the pair, `"negative"` or `"positive"`.
    """
    rng = np.random.default_rng(SEED)
    positives = rng.uniform(-0.1, 0.7, (ANCHORS, 4))
    negatives = rng.uniform(-0.1, 0.7, (ANCHORS, 5))
    sizes = rng.uniform(0.02, 0.3, ANCHORS)
    rows = [(positives, negatives)]
    for which in SIMILARITIES:
        for amounts in (sizes, -sizes):
            rows.append(moved_rows(positives, negatives, amounts, pair, which))
    sides = [np.concatenate(side) for side in zip(*rows, strict=True)]
    weights = first_pairs_weights(loss, sides[0], sides[1], pair)
    weights = weights.reshape(len(rows), ANCHORS)
    before, after = weights[0], weights[1:].reshape(len(SIMILARITIES), 2, ANCHORS)
    larger = np.maximum(before, after)
    counts = larger > NEGLIGIBLE * weights.max()
    reacts = counts & (np.abs(after - before) > TOLERANCE * larger)
    return Shares(*reacts.any(axis=1).mean(axis=1).tolist())


def similarity_table(losses: dict[str, PairLoss]) -> Table:
    """Returns the shares of each loss and each kind of pair."""
    return {
        (name, pair): reaction_shares(loss, pair)
        for pair in PAIRS
        for name, loss in losses.items()
    }


def verdict(name: str, pair: str, which: str, reacts: bool) -> str:
    """Returns whether the paper says the same, or `""` if it says nothing."""
    if pair != "negative" or name not in PUBLISHED:
        return ""
    return "agrees" if reacts == (which in PUBLISHED[name]) else "differs"


def table_rows(table: Table) -> list[tuple]:
    """Returns the rows of the table's CSV file, in the order of `HEADER`."""
    rows = []
    for (name, pair), shares in table.items():
        for which in SIMILARITIES:
            reacts = which in shares.ticks
            told = verdict(name, pair, which, reacts)
            paper = int(which in PUBLISHED[name]) if told else ""
            share = getattr(shares, which)
            rows.append((name, pair, which, share, int(reacts), paper, told))
    return rows


def table_text(table: Table) -> str:
    """Returns the table as lines of text, beside the paper's ticks."""
    width = max(len(name) for name, _ in table)
    lines = []
    for pair in PAIRS:
        lines.append(
            f"The weight of a {pair} pair reacts to its similarities, in % of anchors:"
        )
        columns = "".join(f"{which:>7}" for which in SIMILARITIES)
        lines.append(" " * width + columns + ("   paper" if pair == "negative" else ""))
        for (name, kind), shares in table.items():
            if kind == pair:
                cells = "".join(f"{_cell(share):>7}" for share in shares)
                lines.append(f"{name:<{width}}{cells}   {_beside(name, pair, shares)}")
    return "\n".join(line.rstrip() for line in lines)


def _cell(share: float) -> str:
    return f"{100 * share:.0f}" if share else "-"


def _beside(name: str, pair: str, shares: Shares) -> str:
    if pair != "negative":
        return ""
    if name not in PUBLISHED:
        return "not in the table"
    differing = [
        f"{'also' if which in shares.ticks else 'not'} {which}"
        for which in SIMILARITIES
        if verdict(name, pair, which, which in shares.ticks) == "differs"
    ]
    told = f"computed {', '.join(differing)}" if differing else "agrees"
    return f"{PUBLISHED[name]:<4}{told}"
