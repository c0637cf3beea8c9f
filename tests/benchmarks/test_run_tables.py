"""The table of runs tells what they left."""

import json
import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).parents[2]


def write_run(folder, rate, recall, seed=0, queries=20, weights="b"):
    lines = [
        "# a comment",
        "--backbone=small_conv",
        f"--learning_rate={rate}",
        f"--seed={seed}",
        f"--weights=/home/me/{weights}.h5",
    ]
    with tf.summary.create_file_writer(str(folder / "events")).as_default():
        tf.summary.scalar("round/loss", 3.0, step=10)
    (folder / "flags.cfg").write_text("\n".join(lines) + "\n")
    report = {
        "protocol": "birds",
        "num_queries": queries,
        "recall": {"1": recall},
        "frozen_recall": {"1": 0.0625},
        "frozen_features_recall": {"1": 0.125},
        "steps": 1200,
    }
    (folder / "recall.json").write_text(json.dumps(report))


def collect(*arguments):
    command = [sys.executable, "-m", "benchmarks.runs", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_runs_are_told_by_the_flags_they_do_not_share(tmp_path):
    write_run(tmp_path / "runs" / "a", "0.1", 0.5, weights="a")
    write_run(tmp_path / "runs" / "b", "0.2", 0.625)
    write_run(tmp_path / "runs" / "c", "0.2", 0.875, seed=1)
    with (tmp_path / "runs" / "a" / "flags.cfg").open("a") as file:
        file.write("--noflip\n")
    out = tmp_path / "runs.json"
    finished = collect(f"--runs={tmp_path / 'runs'}", f"--out={out}")
    assert finished.returncode == 0, finished.stderr
    best, other = json.loads(out.read_text())["runs"]
    assert best["flags"] == []  # most runs have its flags
    assert best["recall_at_1"] == [0.625, 0.875]
    assert other["flags"] == ["--learning_rate=0.1", "--noflip", "--weights=a.h5"]
    assert other["recall_at_1"] == [0.5]
    assert 0 <= best["minutes"] < 1
    row = "| 1,200 | 12.5 | 6.2 ± 0.0 | 75.0 ± 17.7 | +62.5 | 0.0 |"
    assert f"| - {row}" in finished.stdout
    assert (
        "| `--learning_rate=0.1` `--noflip` `--weights=a.h5` | 1,200 |"
        in finished.stdout
    )
    assert "20 queries of birds" in finished.stdout


def test_runs_scored_on_different_images_do_not_compare(tmp_path):
    write_run(tmp_path / "a", "0.1", 0.5)
    write_run(tmp_path / "b", "0.2", 0.5, queries=30)
    finished = collect(f"--runs={tmp_path}")
    assert finished.returncode == 2
    assert "birds: 20; birds: 30" in finished.stderr


@pytest.mark.parametrize("folder", ["", "empty"])
def test_a_folder_without_runs_is_told(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    runs = tmp_path / folder if folder else ""
    finished = collect(f"--runs={runs}")
    assert finished.returncode == 2
    assert "--runs" in finished.stderr
