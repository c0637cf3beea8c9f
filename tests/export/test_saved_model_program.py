"""`python -m export.saved_model`, on a run that the test writes."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from export.saved_model import next_version
from ms_keras.models import build_tower

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


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ([], "1"),
        (["1", "2", "10"], "11"),
        (["7"], "8"),
        ([".3.0f3c", "notes", "4.partial"], "1"),
    ],
)
def test_next_version_counts_numbered_folders_only(present, expected, tmp_path):
    for name in present:
        (tmp_path / name).mkdir()
    assert next_version(tmp_path).name == expected


def test_versions_go_into_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="--out must be a folder"):
        next_version(tmp_path / "file")
