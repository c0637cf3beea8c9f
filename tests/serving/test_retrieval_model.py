"""Retrieval models find what sorting everything finds, at any size."""

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.models import build_tower
from ms_keras.retrieval.scann_settings import ScannSettings
from ms_keras.serving import save_serving_model
from ms_keras.serving.catalogue import Catalogue
from ms_keras.serving.exact_lookup import ExactLookup
from ms_keras.serving.loaded_tower import load_tower
from ms_keras.serving.retrieval_model import (
    LookupOptions,
    RetrievalModel,
    load_retrieval_model,
    save_retrieval_model,
)
from ms_keras.serving.scann_lookup import ScannLookup

SIZE, SHORT_SIDE, DIM = 32, 36, 8
SEARCHES = ["exact", "scann"]


def unit(count, dim=DIM, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, dim)).astype("f4")
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def names(count):
    return [f"item {i}" for i in range(count)]


def lookup_of(search, rows, **settings):
    if search == "exact":
        return ExactLookup(rows)
    pytest.importorskip("scann")
    return ScannLookup(rows, ScannSettings(**({"leaves": 0, **NONE} | settings)))


NONE = {"leaves_to_search": 0, "reorder": 0}


def loaded_tower(folder, dim):
    keras = build_tower("small_conv", dim, SIZE, weights=None)
    save_serving_model(keras, folder / "1", short_side=SHORT_SIDE)
    return load_tower(folder / "1")


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    return loaded_tower(tmp_path_factory.mktemp("tower"), DIM)


def search(directory, queries):
    loaded = tf.saved_model.load(str(directory))
    found = loaded.signatures["search_embeddings"](embeddings=tf.constant(queries))
    ids = [[name.decode() for name in row] for row in found["ids"].numpy()]
    return ids, found["scores"].numpy()


@pytest.mark.parametrize("count", [1, 7, 8191, 8192, 8193, 20_000])
@pytest.mark.parametrize("k", [1, 7])
def test_blocks_find_what_sorting_all_finds(count, k):
    rows, queries, k = unit(count), unit(9, seed=1), min(k, count)
    indices, scores = ExactLookup(rows).nearest(tf.constant(queries), k)
    cosines = queries @ rows.T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(indices, order)
    expected = np.take_along_axis(cosines, order, axis=1)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_equals_come_by_rising_index_across_blocks():
    rows = np.ones((20_000, 1), "f4")
    indices, _ = ExactLookup(rows).nearest(tf.ones((2, 1)), 5)
    np.testing.assert_array_equal(indices, [range(5)] * 2)


def test_half_precision_costs_cosines_little():
    rows, queries = unit(5000), unit(20, seed=1)
    _, scores = ExactLookup(rows, "bfloat16").nearest(tf.constant(queries), 10)
    expected = -np.sort(-(queries @ rows.T), axis=1)[:, :10]
    difference = np.abs(scores - expected).max()
    assert 0 < difference < 0.004


def test_scann_with_leaves_fills_up_with_nobody():
    rows = np.concatenate([unit(1, seed=i).repeat(40, 0) for i in range(16)])
    rows += 1e-3 * unit(len(rows), seed=99)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    settings = {"leaves": 16, "leaves_to_search": 1, "reorder": 60}
    lookup = lookup_of("scann", rows, **settings)
    indices, scores = lookup.nearest(tf.constant(rows[:3]), 600)
    nobody = indices.numpy() == -1
    assert nobody.any()
    assert (scores.numpy()[nobody] == -1).all()
    assert (scores.numpy()[~nobody] > -1).all()


@pytest.mark.parametrize("kind", SEARCHES)
def test_fewer_items_than_k_are_all_found(tower, kind, tmp_path):
    if kind == "scann":
        pytest.importorskip("scann")
    catalogue = Catalogue(names(3), unit(3))
    options = LookupOptions(10, kind)
    save_retrieval_model(RetrievalModel(tower, catalogue, options), tmp_path / "1")
    ids, scores = search(tmp_path / "1", catalogue.rows)
    assert [row[0] for row in ids] == catalogue.ids
    assert {frozenset(row) for row in ids} == {frozenset(catalogue.ids)}
    np.testing.assert_allclose(scores[:, 0], 1, atol=1e-6)


@pytest.mark.parametrize("kind", SEARCHES)
def test_no_queries_find_nothing(tower, kind, tmp_path):
    if kind == "scann":
        pytest.importorskip("scann")
    catalogue = Catalogue(names(20), unit(20))
    options = LookupOptions(4, kind)
    save_retrieval_model(RetrievalModel(tower, catalogue, options), tmp_path / "1")
    ids, scores = search(tmp_path / "1", np.zeros((0, DIM), "f4"))
    assert ids == []
    assert scores.shape == (0, 4)


def test_queries_need_no_norm_and_must_be_finite(tower, tmp_path):
    catalogue = Catalogue(names(20), unit(20))
    model = RetrievalModel(tower, catalogue, LookupOptions(3))
    save_retrieval_model(model, tmp_path / "1")
    queries = unit(2, seed=1)
    one, scores = search(tmp_path / "1", queries)
    other, scaled = search(tmp_path / "1", queries * np.array([[1e30], [1e-30]], "f4"))
    assert one == other
    np.testing.assert_allclose(scores, scaled, atol=1e-6)
    queries[1, 2] = np.nan
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"embeddings\[1\] of 2 has NaN"
    ):
        search(tmp_path / "1", queries)


@pytest.mark.parametrize(
    "options",
    [
        LookupOptions(3),
        LookupOptions(3, dtype="bfloat16"),
        LookupOptions(3, "scann"),
        LookupOptions(3, "scann", settings=ScannSettings(0, 0, 100)),
        LookupOptions(3, "scann", settings=ScannSettings(16, 16, 100)),
    ],
    ids=["exact", "bfloat16", "brute force", "hashes", "leaves"],
)
def test_what_is_saved_can_be_loaded_changed_and_saved_again(tower, options, tmp_path):
    if options.search == "scann":
        pytest.importorskip("scann")
    catalogue = Catalogue(names(600), unit(600))
    save_retrieval_model(RetrievalModel(tower, catalogue, options), tmp_path / "1")
    loaded = load_retrieval_model(tmp_path / "1")
    assert loaded.options == options
    assert loaded.catalogue.ids == catalogue.ids
    exact = options.dtype == "float32"
    np.testing.assert_allclose(
        loaded.catalogue.rows, catalogue.rows, atol=0 if exact else 4e-3
    )
    # Twice, so that a tower is taken out of what it was put into.
    save_retrieval_model(loaded, tmp_path / "2")
    again = load_retrieval_model(tmp_path / "2")
    np.testing.assert_array_equal(again.catalogue.rows, loaded.catalogue.rows)
    before, after = (search(tmp_path / v, unit(5, seed=1)) for v in "12")
    np.testing.assert_allclose(before[1], after[1], atol=0.05)
    sizes = [
        sum(f.stat().st_size for f in (tmp_path / v).rglob("*") if f.is_file())
        for v in "12"
    ]
    assert sizes[1] < 1.1 * sizes[0]


def test_two_hundred_thousand_long_rows(tmp_path):
    tower = loaded_tower(tmp_path / "tower", 512)
    rows = unit(200_000, 512)
    model = RetrievalModel(tower, Catalogue(names(len(rows)), rows), LookupOptions(5))
    save_retrieval_model(model, tmp_path / "1")
    queries = np.concatenate([unit(4, 512, seed=1), rows[[0, 123_456, 199_999]]])
    ids, scores = search(tmp_path / "1", queries)
    cosines = queries @ rows.T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :5]
    assert ids == [[f"item {i}" for i in row] for row in order]
    expected = np.take_along_axis(cosines, order, axis=1)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("catalogue", "message"),
    [
        (Catalogue([], np.zeros((0, DIM), "f4")), "catalogue is empty"),
        (Catalogue(["a", "a"], unit(2)), "ids stand for more than one"),
        (Catalogue(["a", ""], unit(2)), "empty id"),
        (Catalogue(["a", "b"], unit(3)), r"each of 2 ids; got shape \(3, 8\)"),
        (Catalogue(["a", "b"], unit(2, 9)), r"row of 8 entries.*got shape \(2, 9\)"),
    ],
)
def test_bad_catalogues_are_refused_and_leave_nothing(
    tower, catalogue, message, tmp_path
):
    model = RetrievalModel(tower, catalogue, LookupOptions())
    with pytest.raises(ValueError, match=message):
        save_retrieval_model(model, tmp_path / "1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"k": 0}, "k must be 1 or more; got 0"),
        ({"search": "faiss"}, "search must be one of .*'faiss'"),
        ({"dtype": "int8"}, "dtype must be one of .*'int8'"),
        ({"search": "scann", "dtype": "bfloat16"}, "ScaNN keeps float32"),
    ],
)
def test_bad_options_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        LookupOptions(**values)


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no SavedModel.*export\.saved_model"):
        load_tower(tmp_path)
    with pytest.raises(ValueError, match=r"has no model card|holds no catalogue"):
        load_retrieval_model(tmp_path)
    module = tf.Module()
    module.v = tf.Variable(0)
    tf.saved_model.save(module, str(tmp_path / "1"))
    with pytest.raises(ValueError, match="another kind of model: no embed_bytes"):
        load_tower(tmp_path / "1")


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_catalogue_is_no_tower(tower, kind, tmp_path):
    if kind == "scann":
        pytest.importorskip("scann")
    catalogue = Catalogue(names(3), unit(3))
    model = RetrievalModel(tower, catalogue, LookupOptions(1, kind))
    save_retrieval_model(model, tmp_path / "1")
    with pytest.raises(ValueError, match=r"is a catalogue.*--extend=.*/1"):
        load_tower(tmp_path / "1")
