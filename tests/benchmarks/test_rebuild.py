"""Pages show the tables of the results beside them."""

import json
import pathlib

import pytest

from benchmarks import machine, rebuild

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("page", ["benchmarks/RESULTS.md", "docs/serving.md"])
def test_the_tables_are_those_of_the_results(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert text.count("<!-- table: ") == text.count("<!-- end -->") > 0
    assert rebuild.rebuilt(text) == text


def test_what_stands_between_the_marks_is_replaced_and_nothing_else(monkeypatch):
    monkeypatch.setattr(rebuild, "table_of", lambda name: f"| {name} |")
    monkeypatch.setattr(rebuild, "_result", lambda name: pathlib.Path(__file__))
    page = "a\n<!-- table: x_tf2.15 -->\nold\n<!-- end -->\nb\n<!-- end -->\n"
    expected = (
        "a\n<!-- table: x_tf2.15 -->\n\n| x_tf2.15 |\n\n<!-- end -->\nb\n<!-- end -->\n"
    )
    assert rebuild.rebuilt(page) == expected
    assert rebuild.rebuilt(expected) == expected


@pytest.mark.parametrize("name", ["gpu", "loss", "exits_tf9.9", "startup"])
def test_what_was_not_measured_yet_stays_and_is_told(
    name, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(rebuild, "_ROOT", tmp_path)
    page = f"a\n<!-- table: {name} -->\nby hand\n<!-- end -->\n"
    assert rebuild.rebuilt(page) == page
    assert f"{name}.json is missing: its table stays" in capsys.readouterr().err


def test_a_mark_of_no_benchmark_is_told():
    page = "<!-- table: nothing -->\n<!-- end -->\n"
    with pytest.raises(ValueError, match=r"'nothing', which is no benchmark"):
        rebuild.rebuilt(page)


def test_a_result_that_makes_no_table_is_told(tmp_path, monkeypatch):
    path = tmp_path / "recall.json"
    path.write_text("{}")
    monkeypatch.setattr(rebuild, "_result", lambda name: path)
    with pytest.raises(ValueError, match=r"benchmarks\.recall\.report makes no table"):
        rebuild.table_of("recall")


def test_the_machine_of_a_result_is_told_below_its_table(tmp_path, monkeypatch):
    path = tmp_path / "recall.json"
    here = {**machine.machine(), "cpu": "Some CPU"}
    path.write_text(json.dumps({"contenders": {}, "machine": here}))
    monkeypatch.setattr(rebuild, "_result", lambda name: path)
    last = rebuild.table_of("recall").splitlines()[-2:]
    assert last == ["", machine.told(here)]
    assert last[1].startswith(f"Measured on Some CPU, {here['cores']} cores, ")
    assert f"TensorFlow {here['tensorflow']}." in last[1]


def test_a_machine_of_older_results_and_of_a_kit_is_told():
    old = {"cpu": "C", "cores": 2, "memory_gb": 24, "system": "Linux x86_64"}
    assert machine.told(old) == "Measured on C, 2 cores, 24 GB, Linux x86_64."
    assert machine.told({"gpu": "H100", "versions": {}}) == "Measured on H100."
    assert machine.told({"gpu": None, "versions": {}}) == "Measured on a CPU."
    assert "could not be told: no" in machine.told({"trouble": "no"})
