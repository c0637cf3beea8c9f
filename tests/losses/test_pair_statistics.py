"""The metric of what a loss does to pairs, against counting one by one."""

import numpy as np
import pytest
import tensorflow as tf
from family import ALL, make, masks
from naive import unit_rows

from ms_keras.losses import PairStatistics

ROWS = unit_rows(np.random.default_rng(0), 12, 4).astype("f4")
LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4, 5])


def result_of(metric):
    return {name: float(value) for name, value in metric.result().items()}


@pytest.mark.parametrize("name", ALL)
def test_results_are_those_of_the_weights(name):
    loss = make(name)
    metric = PairStatistics(loss)
    metric.update_state(LABELS, ROWS)
    metric.update_state(LABELS[:3], ROWS[:3])  # one class
    W = [loss.pair_weights(LABELS[:n], ROWS[:n]).numpy() for n in (12, 3)]
    S, kinds = ROWS @ ROWS.T, [masks(LABELS[:n]) for n in (12, 3)]
    pull = np.concatenate([-w[w < 0] for w in W])
    push = np.concatenate([w[w > 0] for w in W])
    idle = sum(int((w == 0).all(axis=1).sum()) for w in W)
    expected = {
        "kept_positives": len(pull) / 15,
        "kept_negatives": len(push) / 15,
        "idle_anchors": idle / 15,
        "positive_weight": pull.mean() if len(pull) else 0,
        "negative_weight": push.mean() if len(push) else 0,
        "positive_similarity": np.concatenate(
            [S[: len(p), : len(p)][p] for p, _ in kinds]
        ).mean(),
        "negative_similarity": S[kinds[0][1]].mean(),
    }
    assert result_of(metric) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    metric.reset_state()
    assert set(result_of(metric).values()) == {0.0}


def test_anchors_of_weight_zero_are_left_out():
    loss = make("ms")
    weight = np.array([1, 1, 1, 0, 0, 0, 2, 2, 2, 0, 0, 0], "f4")
    metric = PairStatistics(loss)
    metric.update_state(LABELS, ROWS, sample_weight=weight)
    weights = loss.pair_weights(LABELS, ROWS).numpy()[weight > 0]
    assert result_of(metric)["kept_negatives"] == pytest.approx((weights > 0).sum() / 6)


def test_before_the_first_batch_everything_is_zero():
    assert set(result_of(PairStatistics(make("ms"))).values()) == {0.0}


def test_float64_and_half_precision_rows_are_taken():
    for dtype in ("float64", "float16"):
        metric = PairStatistics(make("ms"))
        metric.update_state(LABELS, tf.cast(ROWS, dtype))
        assert result_of(metric)["kept_positives"] > 0
