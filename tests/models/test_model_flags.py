"""Flags that describe a tower."""

import pytest
from absl import flags

from ms_keras.models.flags import (
    define_flags,
    short_side_from_flags,
    tower_from_flags,
)


def parsed(*arguments):
    values = flags.FlagValues()
    define_flags(values)
    values(["program", *arguments])
    return values


def test_every_flag_reaches_the_tower():
    values = parsed(
        "--backbone=small_conv",
        "--embedding_dim=6",
        "--image_size=32",
        "--weights=none",
        "--pooling=max",
        "--nofreeze_batch_norm",
    )
    tower = tower_from_flags(values)
    assert tower.input_shape == (None, 32, 32, 3)
    assert tower.output_shape == (None, 6)
    assert "Max" in type(tower.get_layer("features")).__name__


def test_what_is_frozen_is_read(monkeypatch):
    given = {}
    monkeypatch.setattr(
        "ms_keras.models.flags.build_tower", lambda **k: given.update(k)
    )
    tower_from_flags(parsed("--freeze_batch_norm=all", "--freeze_until=block_2_add"))
    assert given["freeze_batch_norm"] == "all"
    assert given["freeze_until"] == "block_2_add"
    tower_from_flags(parsed())
    assert given["freeze_batch_norm"] == "statistics"
    assert given["freeze_until"] == ""


@pytest.mark.parametrize(
    ("arguments", "expected", "written"),
    [
        ([], "statistics", "--freeze_batch_norm"),
        (["--freeze_batch_norm"], "statistics", "--freeze_batch_norm"),
        (["--freeze_batch_norm=true"], "statistics", "--freeze_batch_norm"),
        (["--freeze_batch_norm=statistics"], "statistics", "--freeze_batch_norm"),
        (["--nofreeze_batch_norm"], "none", "--nofreeze_batch_norm"),
        (["--freeze_batch_norm=False"], "none", "--nofreeze_batch_norm"),
        (["--freeze_batch_norm=none"], "none", "--nofreeze_batch_norm"),
        (["--freeze_batch_norm=all"], "all", "--freeze_batch_norm=all"),
    ],
)
def test_what_of_batch_norm_is_frozen_is_a_mode_or_as_before_a_switch(
    arguments, expected, written
):
    """A run's file of flags, whichever version wrote it, is read by either."""
    values = parsed(*arguments)
    assert values.freeze_batch_norm == expected
    assert values["freeze_batch_norm"].serialize() == written
    assert parsed(written).freeze_batch_norm == expected


def test_overrides_win_over_flags():
    values = parsed("--backbone=small_conv", "--image_size=32", "--embedding_dim=6")
    assert tower_from_flags(values, weights=None).output_shape == (None, 6)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], 253),  # 224 * 256 / 227 = 252.6
        (["--image_size=227"], 256),
        (["--image_size=160", "--short_side=160"], 160),
    ],
)
def test_short_side_keeps_the_papers_margin_unless_given(arguments, expected):
    assert short_side_from_flags(parsed(*arguments)) == expected


def test_short_side_below_the_crop_is_refused():
    with pytest.raises(ValueError, match=r"got 100 and 224.*at 0"):
        short_side_from_flags(parsed("--short_side=100"))


@pytest.mark.parametrize(
    "argument",
    [
        "--embedding_dim=0",
        "--image_size=0",
        "--pooling=gem",
        "--freeze_batch_norm=some",
    ],
)
def test_bad_values_are_refused_when_parsed(argument):
    with pytest.raises(flags.IllegalFlagValueError):
        parsed(argument)
