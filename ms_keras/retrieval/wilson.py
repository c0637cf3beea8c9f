"""Wilson's interval of a share, judged by how many things it is a share of."""

from __future__ import annotations

import math

from ms_keras.retrieval.bootstrap import Interval

Z = 1.959964  # of a normal distribution, 95 % lie within


def wilson_interval(share: float, size: float) -> Interval:
    """Returns the 95 % interval of a share.

    It does not shrink to nothing where all or none of a handful count, as a bootstrap's
    does (Wilson, Journal of the American Statistical Association 22, 1927).

    Args:
        share: In [0, 1].
        size: How many things it is a share of; above 0, not necessarily whole.
    """
    centre = (share + Z**2 / (2 * size)) / (1 + Z**2 / size)
    spread = math.sqrt(share * (1 - share) / size + Z**2 / (4 * size**2))
    half = Z * spread / (1 + Z**2 / size)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))
