"""What every searcher promises, whichever it is."""

import shutil

import numpy as np
import pytest

from ms_keras.retrieval.exact_search import ExactSearcher
from ms_keras.retrieval.scann_search import ScannSearcher
from ms_keras.retrieval.scann_settings import ScannSettings
from ms_keras.retrieval.searcher import NOBODY

pytest.importorskip("scann")

SEARCHERS = {
    "exact": ExactSearcher,
    "brute force": lambda: ScannSearcher(ScannSettings(0, 0, 0)),
    "hashed": lambda: ScannSearcher(ScannSettings(0, 0, 400)),
    "leaves": lambda: ScannSearcher(ScannSettings(10, 10, 400)),
    "leaves unhashed": lambda: ScannSearcher(ScannSettings(10, 10, 0)),
}


@pytest.fixture(params=SEARCHERS)
def searcher(request):
    return SEARCHERS[request.param]()


def rows_of(count, dim=12, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dim))


def naive_cosines(queries, gallery):
    queries, gallery = np.asarray(queries, "f8"), np.asarray(gallery, "f8")
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(gallery, axis=1)
    return queries @ gallery.T / np.where(lengths > 0, lengths, 1)


def assert_sound(found, cosines, k, exclude=None):
    """Checks what holds for any answer, near or not."""
    assert found.indices.shape == found.similarities.shape == (len(cosines), k)
    assert found.indices.dtype == np.int64
    assert found.similarities.dtype == np.float32
    for i, (indices, similarities) in enumerate(zip(*found, strict=True)):
        number = int(np.sum(indices != NOBODY))
        assert np.all(indices[number:] == NOBODY)
        assert np.all(similarities[number:] == -np.inf)
        assert len(set(indices[:number])) == number
        assert np.all(np.diff(similarities[:number]) <= 0)
        expected = cosines[i, indices[:number]]
        np.testing.assert_allclose(similarities[:number], expected, atol=1e-6)
        assert exclude is None or exclude[i] not in indices


@pytest.mark.parametrize("k", [1, 7])
def test_finds_what_sorting_finds(searcher, k):
    queries, gallery = rows_of(20, seed=1), rows_of(400)
    cosines = naive_cosines(queries, gallery)
    found = searcher.index(gallery).search(queries, k)
    assert_sound(found, cosines, k)
    expected = np.argsort(-cosines, axis=1)[:, :k]
    np.testing.assert_array_equal(found.indices, expected)


def test_does_not_find_what_it_must_not(searcher):
    rows = rows_of(400)
    own = np.arange(400)
    cosines = naive_cosines(rows, rows)
    found = searcher.index(rows).search(rows, 5, exclude=own)
    assert_sound(found, cosines, 5, own)
    np.fill_diagonal(cosines, -2)
    np.testing.assert_array_equal(found.indices, np.argsort(-cosines, axis=1)[:, :5])


@pytest.mark.parametrize("count", [1, 2, 3, 10, 40, 256, 300])
def test_fewer_rows_than_k_leave_nobody_behind_the_last(searcher, count):
    rows = rows_of(count)
    cosines = naive_cosines(rows, rows)
    searcher.index(rows)
    found = searcher.search(rows, count + 3)
    assert_sound(found, cosines, count + 3)
    assert np.all((found.indices != NOBODY).sum(axis=1) == count)
    own = np.arange(count)
    found = searcher.search(rows, count + 3, exclude=own)
    assert_sound(found, cosines, count + 3, own)
    assert np.all((found.indices != NOBODY).sum(axis=1) == count - 1)


@pytest.mark.parametrize("kind", ["one point", "zeros", "three points"])
def test_duplicates_are_found_once_each(searcher, kind):
    points = {"one point": rows_of(1), "zeros": np.zeros((1, 12))}
    points = points.get(kind, rows_of(3))
    gallery = points[np.arange(300) % len(points)]
    own = np.arange(0, 300, 9)
    found = searcher.index(gallery).search(gallery[own], 20, exclude=own)
    assert_sound(found, naive_cosines(gallery[own], gallery), 20, own)
    assert np.all(found.indices[:, 0] != NOBODY)


def test_precision_and_scale_of_rows_do_not_matter(searcher):
    gallery = rows_of(300).astype("f2")
    queries = rows_of(9, seed=1).astype("f2")
    found = searcher.index(gallery).search(queries, 4)
    assert_sound(found, naive_cosines(queries, gallery), 4)
    scales = 10.0 ** np.random.default_rng(2).integers(-30, 30, (300, 1))
    again = searcher.index(gallery.astype("f8") * scales).search(queries, 4)
    np.testing.assert_array_equal(again.indices, found.indices)


def test_a_later_gallery_takes_the_place_of_the_first(searcher):
    searcher.index(rows_of(300))
    gallery = rows_of(20, dim=5)
    found = searcher.index(gallery).search(gallery, 1)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(20))


@pytest.mark.parametrize("dim", [1, 3, 7])
def test_every_dim_is_searched(searcher, dim):
    gallery = rows_of(300, dim=dim)
    found = searcher.index(gallery).search(gallery[:9], 3)
    assert_sound(found, naive_cosines(gallery[:9], gallery), 3)


@pytest.mark.parametrize("count", [2, 300])
def test_saved_and_moved_it_finds_the_same(searcher, tmp_path, count):
    rows = rows_of(count)
    own = np.arange(count)
    expected = searcher.index(rows).search(rows, 5, exclude=own)
    searcher.save(tmp_path / "here")
    elsewhere = tmp_path / 'else where "é\\x'
    shutil.move(tmp_path / "here", elsewhere)
    loaded = type(searcher).load(elsewhere)
    found = loaded.search(rows, 5, exclude=own)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.similarities, expected.similarities)
    loaded.save(tmp_path / "again")  # what was loaded is as good as new
    found = type(searcher).load(tmp_path / "again").search(rows, 5, exclude=own)
    np.testing.assert_array_equal(found.indices, expected.indices)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "1 or more"),
        ({"k": 1.5}, "whole numbers"),
        ({"queries": np.ones((2, 5))}, "queries and gallery must have the same dim"),
        ({"queries": np.ones(12)}, "non-empty"),
        ({"queries": np.zeros((0, 12))}, "non-empty"),
        ({"queries": np.full((2, 12), np.nan)}, "queries must be finite"),
        ({"exclude": [0]}, r"\[2\] indices of a gallery of 30 rows"),
        ({"exclude": [0, 30]}, "indices of a gallery of 30 rows"),
    ],
)
def test_bad_queries_are_refused(searcher, arguments, message):
    searcher.index(rows_of(30))
    with pytest.raises(ValueError, match=message):
        searcher.search(**{"queries": rows_of(2), "k": 3, **arguments})


@pytest.mark.parametrize(
    ("gallery", "message"),
    [
        (np.zeros((0, 3)), "non-empty"),
        (np.zeros(3), "non-empty"),
        ([[0.0, 1.0], [np.inf, 1.0]], "gallery must be finite.*first row 1"),
        ([["a", "b"]], "real numbers"),
    ],
)
def test_a_bad_gallery_is_refused(searcher, gallery, message):
    with pytest.raises(ValueError, match=message):
        searcher.index(gallery)


def test_without_a_gallery_nothing_is_searched_or_saved(searcher, tmp_path):
    with pytest.raises(ValueError, match="call index first"):
        searcher.search(rows_of(2), 1)
    with pytest.raises(ValueError, match="call index first"):
        searcher.save(tmp_path / "here")
    assert not list(tmp_path.iterdir())  # nothing half written stays


def test_a_folder_in_use_is_not_written_over(searcher, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="not an empty folder"):
        searcher.index(rows_of(5)).save(tmp_path)


def test_another_kind_of_folder_is_refused(searcher, tmp_path):
    with pytest.raises(ValueError, match="no saved searcher"):
        type(searcher).load(tmp_path)
    others = {ExactSearcher: ScannSearcher, ScannSearcher: ExactSearcher}
    other = others[type(searcher)]().index(rows_of(5))
    other.save(tmp_path / "other")
    with pytest.raises(ValueError, match="a searcher of kind"):
        type(searcher).load(tmp_path / "other")
