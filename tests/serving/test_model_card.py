"""What a served model tells of itself."""

import json
import shutil
import subprocess

import pytest
import tensorflow as tf

from ms_keras.models import build_tower
from ms_keras.serving import ServingOptions, model_card, save_serving_model
from ms_keras.serving.model_card import card_of_run, read_model_card


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    version = tmp_path_factory.mktemp("models") / "1"
    tower = build_tower("small_conv", 8, 32, weights=None)
    save_serving_model(tower, version, short_side=36, card={"data": "birds"})
    return version


def test_it_tells_signatures_preprocessing_stack_and_what_was_given(version):
    card = read_model_card(version)
    assert card["data"] == "birds"
    assert card["preprocessing"]["image_size"] == 32
    assert card["preprocessing"]["short_side"] == 36
    assert card["stack"]["tensorflow"] == tf.__version__
    assert card["signatures"]["embed_bytes"] == {
        "inputs": {"image_bytes": {"shape": [None], "dtype": "string"}},
        "outputs": {"embeddings": {"shape": [None, 8], "dtype": "float32"}},
    }


def test_the_model_loads_beside_it_and_elsewhere(version, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(version, moved)
    signatures = tf.saved_model.load(str(moved)).signatures
    images = tf.zeros((2, 32, 32, 3))
    assert signatures["serving_default"](images=images)["embeddings"].shape == (2, 8)
    assert read_model_card(moved) == read_model_card(version)


def test_a_run_tells_data_scores_and_flags(tmp_path):
    (tmp_path / "flags.cfg").write_text("# python -m ...\n--image_size=32\n")
    assert card_of_run(tmp_path, "best") == {
        "data": None,
        "checkpoint": "best",
        "scores": None,
        "flags": ["--image_size=32"],
    }
    of_last = {"protocol": "glyphs", "recall": {"1": 0.5}, "steps": 300}
    of_best = {"best_recall_at_1": 0.6, "best_step": 200, "best_scored_on": {"n": 9}}
    (tmp_path / "recall.json").write_text(json.dumps({**of_last, **of_best}))
    for checkpoint, scores in (("last", of_last), ("best", of_best)):
        card = card_of_run(tmp_path, checkpoint)
        assert (card["data"], card["scores"]) == ("glyphs", scores)


@pytest.mark.parametrize(
    ("options", "dim", "told"),
    [
        (ServingOptions(), 8, False),
        (ServingOptions(dim=8), 8, False),
        (ServingOptions(dim=5), 5, True),
        (ServingOptions(output="int8"), 8, True),
    ],
)
def test_it_tells_whether_scores_are_of_what_is_served(options, dim, told, tmp_path):
    tower = build_tower("small_conv", 8, 32, weights=None)
    card = {"scores": {"best_recall_at_1": 0.6}}
    version = tmp_path / "1"
    save_serving_model(tower, version, short_side=36, options=options, card=card)
    card = read_model_card(version)
    assert card["embeddings"] == {"dim": dim, "output": options.output}
    assert card.get("scores_are_of", "").startswith("all 8 entries") == told


@pytest.mark.parametrize("text", [b'{"protocol": ', b"[1]", b"\xff"])
def test_a_damaged_file_is_named(text, version, tmp_path):
    (tmp_path / "flags.cfg").write_text("")
    (tmp_path / "recall.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"recall\.json is damaged.*start the run"):
        card_of_run(tmp_path, "best")
    damaged = tmp_path / "1"
    shutil.copytree(version, damaged)
    (damaged / model_card.CARD_FILE).write_bytes(text)
    with pytest.raises(ValueError, match=r"model_card\.json is damaged.*Export"):
        read_model_card(damaged)


def test_the_commit_is_that_of_git(tmp_path, monkeypatch):
    monkeypatch.setattr(model_card, "_SOURCE", tmp_path)
    assert model_card.commit() is None  # no checkout
    if shutil.which("git") is None:
        pytest.skip("no git")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "code.py").write_text("1")
    subprocess.run([*git, "add", "code.py"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
    log = subprocess.run([*git, "log", "--format=%H"], capture_output=True, text=True)
    (tmp_path / "notes.txt").write_text("no part of it")
    assert model_card.commit() == log.stdout.strip()
    (tmp_path / "code.py").write_text("2")
    assert model_card.commit() == log.stdout.strip() + "-dirty"
    # Installed into a folder of a repository, it is not that repository's.
    (tmp_path / "site-packages").mkdir()
    monkeypatch.setattr(model_card, "_SOURCE", tmp_path / "site-packages")
    assert model_card.commit() is None


def test_a_model_without_a_card_is_told(tmp_path):
    with pytest.raises(ValueError, match="has no model card"):
        read_model_card(tmp_path)
