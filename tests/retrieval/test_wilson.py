"""Wilson's interval: textbook values, and how often it holds the truth."""

import numpy as np
import pytest

from ms_keras.retrieval.wilson import wilson_interval


@pytest.mark.parametrize(
    ("share", "size", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 3.
        (81 / 263, 263, 0.2553, 0.3662),
        (15 / 148, 148, 0.0624, 0.1605),
        (0.0, 20, 0.0, 0.1611),
        (1 / 29, 29, 0.0061, 0.1718),
    ],
)
def test_textbook_values(share, size, low, high):
    assert wilson_interval(share, size) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.97])
def test_nineteen_of_twenty_intervals_hold_the_truth(share):
    hits = np.random.default_rng(0).binomial(30, share, 4000)
    intervals = [wilson_interval(count / 30, 30) for count in hits]
    held = np.mean([low <= share <= high for low, high in intervals])
    assert 0.92 < held < 0.98
