"""Weight curves, beside the paper's formulas for one anchor."""

import math

import numpy as np
import pytest

from ms_keras.analysis.weight_curves import (
    OTHER_NEGATIVES,
    OTHER_POSITIVES,
    curve_rows,
    weight_curve,
)
from ms_keras.losses import BinomialDevianceLoss, MultiSimilarityLoss


def multi_similarity(own, positives, negatives, is_positive):
    """Eq. 11 to 14 with alpha 2, beta 40, lambda 0.5, epsilon 0.1."""
    least, most = min(positives), max(negatives)
    if is_positive:
        if own >= most + 0.1:
            return 0.0
        kept = [s for s in positives if s < most + 0.1]
        return 1 / (
            math.exp(2 * (own - 0.5)) + sum(math.exp(-2 * (s - own)) for s in kept)
        )
    if own <= least - 0.1:
        return 0.0
    kept = [s for s in negatives if s > least - 0.1]
    return 1 / (
        math.exp(40 * (0.5 - own)) + sum(math.exp(40 * (s - own)) for s in kept)
    )


def binomial(own, positives, negatives, is_positive):
    """Eq. 10 with alpha 2, beta 50, lambda 0.5."""
    if is_positive:
        return 2 / (1 + math.exp(2 * (own - 0.5))) / len(positives)
    return 50 / (1 + math.exp(50 * (0.5 - own))) / len(negatives)


@pytest.mark.parametrize(
    ("loss", "formula"),
    [(MultiSimilarityLoss(), multi_similarity), (BinomialDevianceLoss(), binomial)],
)
def test_curves_are_the_papers_formulas(loss, formula):
    curve = weight_curve(loss, points=41)
    for own, positive, negative in zip(*curve, strict=True):
        positives, negatives = [own, *OTHER_POSITIVES], list(OTHER_NEGATIVES)
        expected = formula(own, positives, negatives, True)
        assert positive == pytest.approx(expected, rel=1e-9)
        positives, negatives = list(OTHER_POSITIVES), [own, *OTHER_NEGATIVES]
        expected = formula(own, positives, negatives, False)
        assert negative == pytest.approx(expected, rel=1e-9)


def test_a_curve_spans_all_similarities():
    curve = weight_curve(MultiSimilarityLoss(), points=5)
    assert curve.similarities.tolist() == [-1, -0.5, 0, 0.5, 1]
    assert np.isfinite(curve).all()
    rows = curve_rows({"multi_similarity": curve})
    assert [row[:2] for row in rows] == [
        ("multi_similarity", s) for s in curve.similarities
    ]
