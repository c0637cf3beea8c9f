"""Learning rates step by step."""

import math

import pytest
import tensorflow as tf

from ms_keras.training.schedules import WarmUp, build_schedule


def rates(*arguments, steps=10, **keywords):
    schedule = build_schedule(*arguments, steps, **keywords)
    return [float(schedule(step)) for step in range(steps)]


def test_constant():
    assert rates("constant", 0.5) == [0.5] * 10


def test_multistep_falls_from_its_milestones_on():
    expected = [1.0] * 3 + [0.1] * 4 + [0.01] * 3
    assert rates("multistep", 1.0, milestones=[3, 7]) == pytest.approx(expected)


def test_multistep_without_milestones_falls_at_40_and_80_percent():
    assert rates("multistep", 1.0) == rates("multistep", 1.0, milestones=[4, 8])


def test_cosine_ends_near_zero():
    expected = [0.5 * (1 + math.cos(math.pi * step / 10)) for step in range(10)]
    assert rates("cosine", 1.0) == pytest.approx(expected, abs=1e-6)


def test_warm_up_rises_linearly_to_the_schedule():
    warmed = rates("cosine", 1.0, warmup_steps=4)
    plain = rates("cosine", 1.0)
    assert warmed[:4] == pytest.approx([plain[i] * (i + 1) / 4 for i in range(4)])
    assert warmed[4:] == plain[4:]


def test_warm_up_survives_saving():
    schedule = build_schedule("cosine", 1.0, 10, warmup_steps=4)
    again = WarmUp.from_config(schedule.get_config())
    assert float(again(2)) == float(schedule(2))
    optimizer = tf.keras.optimizers.SGD(schedule)
    again = tf.keras.optimizers.SGD.from_config(optimizer.get_config())
    assert float(again.learning_rate) == pytest.approx(float(schedule(0)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "linear"}, "multistep"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"learning_rate": float("nan")}, "above 0"),
        ({"warmup_steps": 11}, "warmup_steps"),
        ({"name": "multistep", "milestones": [5, 3]}, "rising"),
        ({"name": "multistep", "milestones": [0]}, "rising"),
    ],
)
def test_senseless_schedules_are_refused(arguments, message):
    arguments = {"name": "cosine", "learning_rate": 1.0, "steps": 10, **arguments}
    with pytest.raises(ValueError, match=message):
        build_schedule(**arguments)
