"""Exact search against sorting."""

import json

import numpy as np
import pytest

from ms_keras.retrieval import exact_search
from ms_keras.retrieval.exact_search import ExactSearcher
from ms_keras.retrieval.searcher import NOBODY


@pytest.mark.parametrize("block", [1 << 25, 70])
def test_search_agrees_with_sorting(block, monkeypatch):
    monkeypatch.setattr(exact_search, "_BLOCK_ENTRIES", block)
    rng = np.random.default_rng(2)
    queries, gallery = rng.normal(size=(9, 6)), rng.normal(size=(30, 6))
    found = ExactSearcher().index(gallery).search(queries, 4)
    cosine = queries @ gallery.T
    cosine /= np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(gallery, axis=1)
    expected = np.argsort(-cosine, axis=1)[:, :4]
    np.testing.assert_array_equal(found.indices, expected)
    np.testing.assert_allclose(
        found.similarities, np.take_along_axis(cosine, expected, 1), atol=1e-6
    )


def test_what_is_excluded_is_not_found_and_missing_neighbours_are_nobody():
    rows = np.eye(4)[[0, 0, 1, 2]]
    found = ExactSearcher().index(rows).search(rows, 10, exclude=np.arange(4))
    assert found.indices.shape == found.similarities.shape == (4, 10)
    assert all(i not in row for i, row in enumerate(found.indices.tolist()))
    assert found.indices[0].tolist() == [1, 2, 3] + [NOBODY] * 7  # equals by index
    assert np.isneginf(found.similarities[:, 3:]).all()


def test_equal_neighbours_come_by_index():
    row = np.random.default_rng(5).normal(size=64)
    found = ExactSearcher().index(np.tile(row, (1000, 1))).search([row, -row], 5)
    np.testing.assert_array_equal(found.indices, [range(5)] * 2)


def test_a_later_gallery_replaces_the_earlier():
    searcher = ExactSearcher().index(np.eye(3)).index(np.eye(3)[::-1])
    assert searcher.search(np.eye(3), 1).indices[:, 0].tolist() == [2, 1, 0]


def test_a_saved_searcher_finds_the_same_wherever_its_folder_goes(tmp_path):
    rng = np.random.default_rng(3)
    queries, gallery = rng.normal(size=(5, 8)), rng.normal(size=(40, 8))
    searcher = ExactSearcher().index(gallery)
    searcher.save(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "other")
    loaded = ExactSearcher.load(tmp_path / "other")
    for ours, theirs in zip(
        loaded.search(queries, 3), searcher.search(queries, 3), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_saving_never_overwrites_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    searcher = ExactSearcher().index(np.eye(3))
    searcher.save(tmp_path / "it")
    with pytest.raises(ValueError, match="not an empty folder"):
        searcher.save(tmp_path / "it")

    def full(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space"):
        searcher.save(tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_folders_without_an_exact_searcher_are_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no saved searcher"):
        ExactSearcher.load(tmp_path)
    ExactSearcher().index(np.eye(3)).save(tmp_path / "it")
    gallery = tmp_path / "it" / "gallery.npy"
    gallery.write_bytes(gallery.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"gallery.npy is missing or damaged"):
        ExactSearcher.load(tmp_path / "it")
    about = tmp_path / "it" / "searcher.json"
    about.write_text(json.dumps({"kind": "scann"}))
    with pytest.raises(ValueError, match="of kind 'scann', not 'exact'"):
        ExactSearcher.load(tmp_path / "it")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "1 or more"),
        ({"queries": np.eye(3)}, "same dim"),
        ({"exclude": [0]}, r"\[2\] indices of a gallery of 2 rows"),
        ({"exclude": [0, 2]}, "indices of a gallery of 2 rows"),
        ({"queries": [[np.nan, 1.0]]}, "queries must be finite"),
    ],
)
def test_bad_queries_are_refused(arguments, message):
    searcher = ExactSearcher().index(np.eye(2))
    with pytest.raises(ValueError, match=message):
        searcher.search(**{"queries": np.eye(2), "k": 1, **arguments})


def test_bad_galleries_are_refused():
    with pytest.raises(ValueError, match="gallery must be finite"):
        ExactSearcher().index([[np.inf, 0.0]])
    with pytest.raises(ValueError, match="call index first"):
        ExactSearcher().search(np.eye(2), 1)
