"""The benchmarks of training run in small and tell what they promise; no timing."""

import json
import pathlib
import subprocess
import sys

import pytest

from benchmarks import startup

ROOT = pathlib.Path(__file__).parents[2]
SMALL = (
    "--backbone=small_conv",
    "--image_size=32",
    "--short_side=32",
    "--freeze_until=",
    "--embedding_dim=8",
    "--classes_per_batch=4",
    "--turns=1",
    "--turn_steps=1",
    "--skipped_steps=1",
)


def run(module, out, *arguments):
    command = [sys.executable, "-m", f"benchmarks.{module}", f"--out={out}"]
    finished = subprocess.run(
        [*command, *SMALL, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout, json.loads(out.read_text())


@pytest.mark.parametrize("pipeline", ["--pipeline", "--nopipeline"])
def test_a_step_is_compared_with_cross_entropy(tmp_path, pipeline):
    told, result = run("step", tmp_path / "step.json", pipeline)
    assert result["batch"] == 20
    assert set(result["ratio_to_ours"]) == {"without statistics", "cross-entropy"}
    assert all(speed > 0 for speed in result["images_per_second"].values())
    assert "| cross-entropy |" in told


def test_the_pipeline_is_compared_with_bare_loops(tmp_path):
    told, result = run(
        "input_pipeline", tmp_path / "ip.json", "--batches=1", "--skipped_batches=0"
    )
    assert len(result["ours_over_theirs"]) == 2
    assert 0 <= result["training"]["share_waiting"] <= 1
    assert "wait for images" in told


def test_the_first_step_and_the_second_are_timed_with_a_cache_and_without(tmp_path):
    assert all(seconds > 0 for seconds in startup.first_steps())
    cached = startup.first_steps(str(tmp_path))
    # Not every TensorFlow can keep what XLA compiled for the CPU.
    assert cached is None or len(cached) == 2
