"""The picture of runs tells what their events hold."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def runs(tmp_path):
    for seed in range(2):
        run = tmp_path / f"run_{seed}"
        with tf.summary.create_file_writer(str(run / "events")).as_default():
            for step in (10, 20):
                recall = (step + seed) / 100
                tf.summary.scalar("round/val_recall_at_1", recall, step=step)
                tf.summary.scalar("round/loss", 3.0, step=step)
        scores = {"1": 0.01 * seed}
        baselines = {"frozen_recall": scores, "frozen_features_recall": {"1": 0.05}}
        (run / "baselines.json").write_text(json.dumps(baselines))
    return tmp_path


def draw(*arguments):
    command = [sys.executable, "-m", "benchmarks.learning_curves", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_seeds_are_kept_apart_and_drawn_together(runs):
    out = runs / "curves.png"
    named = [f"--run=ours={runs / f'run_{seed}'}" for seed in range(2)]
    finished = draw(f"--out={out}", *named)
    assert finished.returncode == 0, finished.stderr
    assert out.read_bytes().startswith(b"\x89PNG")
    result = json.loads(out.with_suffix(".json").read_text())
    assert result["pooled_features"] == 0.05
    line = result["lines"]["ours"]
    assert line["steps"] == [0, 10, 20]
    np.testing.assert_allclose(line["recall"], [[0, 0.1, 0.2], [0.01, 0.11, 0.21]])


def test_a_folder_without_events_is_told(runs):
    finished = draw(f"--out={runs / 'a.png'}", f"--run=ours={runs}")
    assert finished.returncode == 2
    assert "expected a run's folder" in finished.stderr
