"""Which classes train and which test."""

import numpy as np
import pytest

from ms_keras.data.class_split import choose_test_classes

NAMES = [f"class{i}" for i in range(1, 11)]


def chosen(spec, names=NAMES):
    return [int(i) + 1 for i in np.flatnonzero(choose_test_classes(names, spec))]


def test_fractions_take_the_last_classes():
    assert chosen("0.5") == [6, 7, 8, 9, 10]
    assert chosen(".2") == [9, 10]


def test_ranges_count_from_one_and_include_both_ends():
    assert chosen("3-5") == [3, 4, 5]
    assert chosen("10-10") == [10]


def test_names_and_files_of_names(tmp_path):
    assert chosen("class2, class9") == [2, 9]
    (tmp_path / "test.txt").write_text("class4\n\n class1 \n")
    assert chosen(f"@{tmp_path / 'test.txt'}") == [1, 4]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("0-4", "between 1 and"),
        ("5-11", "number of classes, 10"),
        ("7-3", "must rise"),
        ("1-10", "0 to train on"),
        ("0.01", "0 of 10 classes to test on"),
        ("clas3", "Did you mean class3"),
        ("1.5", "no class is called '1.5'"),
        ("@missing.txt", "no such file"),
    ],
)
def test_senseless_choices_are_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        chosen(spec)
