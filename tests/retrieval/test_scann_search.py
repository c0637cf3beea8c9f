"""What is ScaNN's own: its settings at work, its files, and doing without it."""

import json
import os
import runpy
import sys

import numpy as np
import pytest

from ms_keras.retrieval import scann_search
from ms_keras.retrieval.scann_search import ScannSearcher
from ms_keras.retrieval.scann_settings import ScannSettings

pytest.importorskip("scann")


def hard_rows(classes=1200, per_class=5, dim=32):
    """Classes that overlap, so that neighbours lie in many leaves."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(classes, dim))
    noise = rng.normal(size=(classes * per_class, dim))
    return np.repeat(centres, per_class, axis=0) + noise


def share_found(searcher, rows, k=10):
    """Returns the mean share of the k nearest of 200 rows that are found."""
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    chosen = np.arange(0, len(rows), len(rows) // 200)
    cosines = units[chosen] @ units.T
    cosines[np.arange(len(chosen)), chosen] = -2
    nearest = np.argsort(-cosines, axis=1)[:, :k]
    found = searcher.search(rows[chosen], k, exclude=chosen).indices
    pairs = zip(nearest, found, strict=True)
    return np.mean([len({*a} & {*b}) / k for a, b in pairs])


def test_the_more_it_looks_at_the_more_it_finds():
    rows = hard_rows()
    searcher = ScannSearcher(ScannSettings(80, 4, 20)).index(rows)
    little = share_found(searcher, rows)
    leaves = share_found(searcher.adjusted(leaves_to_search=40), rows)
    both = share_found(searcher.adjusted(leaves_to_search=40, reorder=500), rows)
    everything = share_found(searcher.adjusted(80, len(rows)), rows)
    assert little + 0.1 < leaves < both < everything
    assert everything == 1
    assert share_found(searcher, rows) == little  # is as it was


def test_hashing_alone_finds_nearly_all_of_hard_rows():
    rows = hard_rows()
    searcher = ScannSearcher(ScannSettings(0, 0, 500)).index(rows)
    assert share_found(searcher, rows) > 0.99


def test_no_settings_means_those_chosen_for_the_gallery():
    searcher = ScannSearcher().index(np.eye(5))
    assert searcher.settings.is_brute_force
    large = np.random.default_rng(0).normal(size=(20_000, 4)).astype("f4")
    searcher.index(large)
    assert searcher.settings.reorder == 10 * 100
    found = searcher.search(large[:50], 1)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(50))


def test_more_neighbours_than_candidates_are_found():
    rows = hard_rows(100)
    searcher = ScannSearcher(ScannSettings(8, 8, 10)).index(rows)
    found = searcher.search(rows[:20], 60)
    assert found.indices.min() >= 0
    assert all(len(set(indices)) == 60 for indices in found.indices.tolist())


def test_few_leaves_may_hold_fewer_than_k():
    rows = hard_rows(100)
    found = ScannSearcher(ScannSettings(30, 1, 50)).index(rows).search(rows[:40], 100)
    nobody = found.indices == -1
    assert nobody.any()
    assert np.all(found.similarities[nobody] == -np.inf)


def test_it_does_not_call_itself_exact():
    assert not ScannSearcher(ScannSettings(0, 0, 0)).is_exact


def test_hashes_cannot_be_had_later():
    searcher = ScannSearcher(ScannSettings(0, 0, 0)).index(hard_rows(100))
    with pytest.raises(ValueError, match="needs another index"):
        searcher.adjusted(reorder=100)
    with pytest.raises(ValueError, match="needs leaves"):
        searcher.adjusted(leaves_to_search=3)
    with pytest.raises(ValueError, match="call index first"):
        ScannSearcher().adjusted(reorder=100)
    with pytest.raises(ValueError, match="call index first"):
        _ = ScannSearcher().settings


@pytest.mark.parametrize("k", [0, 2.5])
def test_settings_for_no_neighbours_are_refused(k):
    with pytest.raises(ValueError, match="1 or more"):
        ScannSearcher(k=k)


def test_saved_settings_are_those_that_were_searched_with(tmp_path):
    rows = hard_rows(100)
    searcher = ScannSearcher(ScannSettings(20, 3, 50)).index(rows).adjusted(7, 90)
    searcher.save(tmp_path / "here")
    loaded = ScannSearcher.load(tmp_path / "here")
    assert loaded.settings == ScannSettings(20, 7, 90)
    with pytest.raises(ValueError, match="same dim; got 5 and 32"):
        loaded.search(np.ones((1, 5)), 1)


def test_a_saved_index_names_no_folder_of_this_machine(tmp_path):
    searcher = ScannSearcher(ScannSettings(20, 3, 50)).index(hard_rows(100))
    searcher.save(tmp_path / "here")
    for file in (tmp_path / "here").iterdir():
        assert os.fsencode(tmp_path) not in file.read_bytes(), file.name


@pytest.fixture
def saved(tmp_path):
    searcher = ScannSearcher(ScannSettings(20, 3, 50)).index(hard_rows(100))
    searcher.save(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.parametrize("what", ["missing", "cut off"])
def test_a_damaged_folder_is_refused_file_by_file(saved, what):
    files = sorted(file for file in saved.iterdir() if file.name != "searcher.json")
    assert len(files) >= 6
    for file in files:
        content = file.read_bytes()
        if what == "missing":
            file.unlink()
        else:
            file.write_bytes(content[:-5])
        with pytest.raises(ValueError, match="damaged"):
            ScannSearcher.load(saved)
        file.write_bytes(content)
    ScannSearcher.load(saved)


@pytest.mark.parametrize(
    "change", [{"settings": {"leaves": 3}}, {"count": "many"}, {"bytes": None}]
)
def test_a_folder_with_a_note_of_something_else_is_refused(saved, change):
    about = json.loads((saved / "scann.json").read_text())
    (saved / "scann.json").write_text(json.dumps(about | change))
    with pytest.raises(ValueError, match="damaged"):
        ScannSearcher.load(saved)


def test_without_the_package_it_says_what_is_missing(monkeypatch, saved):
    monkeypatch.setitem(sys.modules, "scann.scann_ops.py.scann_ops_pybind", None)
    message = rf"package scann.*{sys.platform}.*Linux only.*Exact search needs no"
    with pytest.raises(ValueError, match=message):
        ScannSearcher()
    with pytest.raises(ValueError, match=message):
        ScannSearcher.load(saved)


def test_the_module_can_be_imported_without_the_package(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "scann"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scann", None)
    searcher = runpy.run_path(scann_search.__file__)["ScannSearcher"]
    with pytest.raises(ValueError, match="package scann"):
        searcher()
