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
    tower_from_flags(parsed("--nofreeze_batch_norm", "--freeze_until=block_2_add"))
    assert given["freeze_batch_norm"] is False
    assert given["freeze_until"] == "block_2_add"
    tower_from_flags(parsed())
    assert given["freeze_batch_norm"] is True
    assert given["freeze_until"] == ""


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
    "argument", ["--embedding_dim=0", "--image_size=0", "--pooling=gem"]
)
def test_bad_values_are_refused_when_parsed(argument):
    with pytest.raises(flags.IllegalFlagValueError):
        parsed(argument)
