"""Pages show the tables of the results beside them."""

import pathlib

import pytest

from benchmarks import rebuild

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["benchmarks/RESULTS.md", "docs/serving.md"])
def test_the_tables_are_those_of_the_results(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text.count("<!-- table: ") == text.count("<!-- end -->") > 0
    assert rebuild.rebuilt(text) == text


def test_what_stands_between_the_marks_is_replaced_and_nothing_else(monkeypatch):
    monkeypatch.setattr(rebuild, "table_of", lambda name: f"| {name} |")
    page = "a\n<!-- table: x_tf2.15 -->\nold\n<!-- end -->\nb\n<!-- end -->\n"
    expected = (
        "a\n<!-- table: x_tf2.15 -->\n\n| x_tf2.15 |\n\n<!-- end -->\nb\n<!-- end -->\n"
    )
    assert rebuild.rebuilt(page) == expected
    assert rebuild.rebuilt(expected) == expected


def test_a_missing_result_is_told():
    with pytest.raises(ValueError, match=r"nothing\.json, which is missing"):
        rebuild.table_of("nothing")
