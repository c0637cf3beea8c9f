"""The pages tell the truth: their worked examples run as they stand."""

import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from ms_keras import losses

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "losses.md"


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


def test_the_examples_of_the_page_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = tf.keras.Sequential([tf.keras.Input([6]), tf.keras.layers.Dense(4)])
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(12, 6)).astype("f4"), np.repeat(range(4), 3)
    names = {"model": model, "labels": labels, "embeddings": model(x)}
    names["tower"] = tf.keras.models.clone_model(model)
    names["batches"] = tf.data.Dataset.from_tensor_slices((x, labels)).batch(12)
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 4
    for example in examples:
        exec(example, names)
    assert (tmp_path / "tower.keras").exists()
    # What the page promises of the loss: it trains, and comes back from a file.
    history = model.fit(x, labels, batch_size=12, epochs=10, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]
    model.save(tmp_path / "mine.keras")
    again = tf.keras.models.load_model(tmp_path / "mine.keras")
    assert again.loss.recipe == names["loss"].recipe
    assert again.loss.recipe.weighting.push == 2.0
    weights = names["loss"].pair_weights(labels, model(x)).numpy()
    assert (weights[0, 1:3] <= 0).all()


def test_the_page_lists_every_loss_with_its_defaults(page):
    listed = re.findall(r"^\| `(\w+)` \| `(\w+)` \|.*\| `(.*?)` \|$", page, re.M)
    assert {row[0] for row in listed} == {
        type(make()).__name__ for make in losses.LOSSES.values()
    }
    for class_name, function, defaults in listed:
        assert hasattr(losses, function)
        loss = getattr(losses, class_name)
        given = eval(f"dict({defaults})")
        assert loss(**given).get_config() == loss().get_config()


def test_the_search_of_the_page_on_retrieval_finds_others_and_is_saved(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    text = PAGE.with_name("retrieval.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(example, names)
    found = names["found"].indices
    assert found.shape == (1000, 10)
    assert not (found == np.arange(1000)[:, np.newaxis]).any()
    loaded = type(names["searcher"]).load("my_index")
    again = loaded.search(names["embeddings"][:5], 1)
    np.testing.assert_array_equal(again.indices[:, 0], range(5))
