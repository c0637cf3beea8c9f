"""Catalogues change as told, and refuse what would make ids ambiguous."""

import numpy as np
import pytest

from ms_keras.serving.catalogue import (
    Catalogue,
    check_ids,
    joined,
    places_to_embed,
    without,
)


def catalogue(ids, dim=2, first=0):
    rows = first + np.arange(len(ids) * dim, dtype="f4").reshape(len(ids), dim)
    return Catalogue(list(ids), rows)


def test_new_items_come_last_and_replace_those_of_the_same_id():
    old, new = catalogue("abc"), catalogue("dbe", first=100)
    both = joined(old, new)
    assert both.ids == list("abcde")
    expected = [old.rows[0], new.rows[1], old.rows[2], new.rows[0], new.rows[2]]
    np.testing.assert_array_equal(both.rows, expected)
    np.testing.assert_array_equal(old.rows, catalogue("abc").rows)  # left as it was


def test_rows_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"have 2 entries, new ones 3"):
        joined(catalogue("ab"), catalogue("c", dim=3))


def test_ids_that_are_there_are_an_error_kept_or_embedded_anew():
    with pytest.raises(ValueError, match=r"2 of 3 new ids .* 'a', 'b'.*replace"):
        places_to_embed("abc", "bxa", "error")
    assert places_to_embed("abc", "bxa", "keep") == [1]
    assert places_to_embed("abc", "bxa", "replace") == [0, 1, 2]
    assert places_to_embed("abc", "xyz", "error") == [0, 1, 2]


def test_items_go():
    left = without(catalogue("abcd"), ["c", "a", "a"])
    assert left.ids == ["b", "d"]
    np.testing.assert_array_equal(left.rows, catalogue("abcd").rows[[1, 3]])


def test_ids_to_remove_must_be_there():
    with pytest.raises(ValueError, match=r"1 of 2 ids to remove .* 'x'"):
        without(catalogue("abc"), ["a", "x"])


def test_ids_must_differ_and_be_there():
    check_ids(["a", "b"])
    with pytest.raises(ValueError, match=r"1 ids stand for more than one .* 'a'"):
        check_ids(["a", "b", "a"])
    with pytest.raises(ValueError, match=r"place 1 has an empty id"):
        check_ids(["a", ""])
