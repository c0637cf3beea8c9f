"""ScaNN's settings: what is refused, what is chosen, what fits a small gallery."""

import dataclasses
import json

import pytest

from ms_keras.retrieval.scann_settings import (
    ScannSettings,
    choose_settings,
    fit_settings,
)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"leaves": 1, "leaves_to_search": 1}, "2 or more, or 0 for none; got 1"),
        ({"leaves_to_search": 0}, "1 to the 40 leaves there are; got 0"),
        ({"leaves_to_search": 41}, "1 to the 40 leaves there are; got 41"),
        ({"leaves": 0}, "needs leaves"),
        ({"leaves": -1}, "leaves must be a whole number, 0 or more; got -1"),
        ({"leaves": 40.0}, "whole number, 0 or more; got 40.0"),
        ({"leaves": True}, "whole number"),
        ({"reorder": -1}, "reorder must be a whole number"),
        ({"dimensions_per_block": 0}, "1 or more; got 0"),
        ({"training_sample": 0}, "1 or more; got 0"),
        ({"anisotropic_threshold": 1.0}, "between 0 and 1; got 1.0"),
        ({"anisotropic_threshold": float("nan")}, "between 0 and 1; got nan"),
        ({"anisotropic_threshold": "a"}, "between 0 and 1; got 'a'"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(numbers, message):
    good = {"leaves": 40, "leaves_to_search": 10, "reorder": 100}
    with pytest.raises(ValueError, match=message):
        ScannSettings(**{**good, **numbers})


def test_settings_survive_json():
    settings = ScannSettings(40, 10, 100, 4, 0.3, 1000)
    text = json.dumps(settings.as_json())
    assert ScannSettings.from_json(json.loads(text)) == settings


@pytest.mark.parametrize("change", [{"leaves": None}, {"colour": 3}, "no mapping"])
def test_json_of_something_else_is_refused(change):
    content = change
    if isinstance(change, dict):
        content = ScannSettings(0, 0, 0).as_json() | change
        content = {k: v for k, v in content.items() if v is not None}
    with pytest.raises(ValueError, match="settings must name"):
        ScannSettings.from_json(content)


def test_the_choice_follows_the_rules_of_thumb_of_scann():
    assert choose_settings(19_999, 64, 10) == ScannSettings(0, 0, 0)
    hashed = choose_settings(20_000, 64, 10)
    assert (hashed.leaves, hashed.dimensions_per_block) == (0, 2)
    assert hashed.reorder >= 10 * 10
    assert choose_settings(99_999, 64, 10).leaves == 0
    partitioned = choose_settings(1_000_000, 64, 100)
    assert partitioned.leaves == 1000  # the square root
    assert 200 < partitioned.leaves_to_search <= 1000  # 20 % was seen to lose points
    assert partitioned.reorder >= 10 * 100
    assert partitioned.anisotropic_threshold == 0.2
    assert choose_settings(50_000, 1, 10).dimensions_per_block == 1


def test_every_number_of_the_choice_can_be_replaced():
    chosen = choose_settings(500, 8, 5, leaves=20, leaves_to_search=3, reorder=77)
    assert (chosen.leaves, chosen.leaves_to_search, chosen.reorder) == (20, 3, 77)
    searched = choose_settings(500, 8, 5, leaves=20).leaves_to_search
    assert 1 <= searched <= 20  # follows the leaves
    changed = dataclasses.replace(chosen, training_sample=9, dimensions_per_block=3)
    assert (changed.training_sample, changed.dimensions_per_block) == (9, 3)


@pytest.mark.parametrize("count", [0, -1, 2.5])
def test_a_choice_for_no_gallery_is_refused(count):
    with pytest.raises(ValueError, match="count must be a whole number, 1 or more"):
        choose_settings(count, 8, 5)


def test_settings_shrink_to_a_small_gallery_and_search_no_smaller_share():
    settings = ScannSettings(100, 25, 50)
    assert fit_settings(settings, 100_000) == settings
    assert fit_settings(settings, 255).is_brute_force
    for count in (256, 300, 800, 1599):
        fitted = fit_settings(settings, count)
        assert 2 <= fitted.leaves <= count / 16
        assert fitted.leaves_to_search / fitted.leaves >= 0.25
        assert fitted.reorder == 50
