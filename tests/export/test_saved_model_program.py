"""`python -m export.saved_model`, on a run that the test writes."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.models import build_tower
from ms_keras.serving.model_card import read_model_card
from ms_keras.serving.warmup import WARMUP_FILE, can_write_warmup

ROOT = pathlib.Path(__file__).parents[2]
IMAGES = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")


def export(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "export.saved_model", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose last checkpoint differs from its best, and both towers."""
    run_dir = tmp_path_factory.mktemp("run")
    (run_dir / "flags.cfg").write_text(
        "--backbone=small_conv\n--embedding_dim=4\n--image_size=32\n--dataset=glyphs\n"
    )
    towers = {}
    for which in ("best", "last"):
        tower = build_tower("small_conv", 4, 32, weights=None)
        checkpoint = tf.train.Checkpoint(model=tower, step=tf.Variable(1))
        checkpoint.save(str(run_dir / "checkpoints" / which / "ckpt"))
        towers[which] = tower
    return run_dir, towers


def test_each_call_writes_the_next_version(run, tmp_path):
    run_dir, towers = run
    base = tmp_path / "models" / "birds"
    for version, which in (("1", "best"), ("2", "last")):
        finished = export(
            f"--run_dir={run_dir}", f"--out={base}", f"--checkpoint={which}"
        )
        assert finished.returncode == 0, finished.stderr
        assert finished.stdout.strip().endswith(str(base / version))
        signatures = tf.saved_model.load(str(base / version)).signatures
        rows = signatures["serving_default"](images=IMAGES)["embeddings"]
        np.testing.assert_allclose(rows, towers[which](IMAGES), atol=1e-6)
    assert sorted(path.name for path in base.iterdir()) == ["1", "2"]


def test_a_folder_that_is_no_run_is_refused_and_nothing_written(tmp_path):
    finished = export(f"--run_dir={tmp_path}", f"--out={tmp_path / 'out'}")
    assert finished.returncode != 0
    assert "has no flags.cfg" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "out").exists()


def test_a_keras_file_is_exported_with_its_options(tmp_path):
    tower = build_tower("small_conv", 6, 32, weights=None)
    tower.save(tmp_path / "tower.keras")
    base = tmp_path / "models" / "drawings"
    finished = export(
        f"--model={tmp_path / 'tower.keras'}",
        f"--out={base}",
        "--dim=4",
        "--output=int8",
        "--max_batch=2",
        "--warmup=no",
    )
    assert finished.returncode == 0, finished.stderr
    signatures = tf.saved_model.load(str(base / "1")).signatures
    rows = signatures["serving_default"](images=IMAGES)["embeddings"]
    expected = tower(IMAGES).numpy()[:, :4]
    expected *= 127 / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(rows, expected, atol=0.501)
    card = read_model_card(base / "1")
    assert card["file"] == "tower.keras"
    assert card["embeddings"] == {"dim": 4, "output": "int8"}
    # 256 / 227 of the image size, as in scoring.
    assert card["preprocessing"]["short_side"] == 36
    assert not (base / "1" / WARMUP_FILE).exists()


def test_the_card_tells_the_run(run, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(run[0], run_dir)
    scores = {"recall": {"1": 0.4}, "best_recall_at_1": 0.5, "best_step": 7}
    (run_dir / "recall.json").write_text(json.dumps(scores))
    finished = export(
        f"--run_dir={run_dir}", f"--out={tmp_path / 'm'}", "--warmup=auto"
    )
    assert finished.returncode == 0, finished.stderr
    card = read_model_card(tmp_path / "m" / "1")
    assert card["checkpoint"] == "best"
    assert card["scores"] == {"best_recall_at_1": 0.5, "best_step": 7}
    assert "--embedding_dim=4" in card["flags"]
    assert (tmp_path / "m" / "1" / WARMUP_FILE).exists() == can_write_warmup()
    assert ("No warm-up" in finished.stdout) != can_write_warmup()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out=o"], "Name one tower"),
        (["--out=o", "--run_dir=a", "--model=b"], "Name one tower"),
        (["--run_dir=a"], "--out is missing"),
        (["--out=o", "--model=no.keras"], "no.keras is none"),
        (["--out=o", f"--model={__file__}"], "does not load as a Keras model"),
    ],
)
def test_what_cannot_be_exported_is_told(arguments, message, tmp_path):
    finished = export(*arguments)
    assert finished.returncode == 2
    assert message in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (ROOT / "o").exists()
