"""The benchmark of losses: contenders compute the same, failures are told."""

import importlib.util
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.loss import contenders, report, with_tensorflow
from benchmarks.loss.data import batch_of

ROOT = pathlib.Path(__file__).parents[2]
BATCH = batch_of(60, 16)
has_torch = pytest.mark.skipif(
    importlib.util.find_spec("pytorch_metric_learning") is None,
    reason="pytorch-metric-learning is an extra of the tests",
)


def ours(loss="multi_similarity", **options):
    return with_tensorflow.ours(BATCH, loss, **options)()


def test_batches_are_the_same_every_time_and_in_classes_of_five():
    again = batch_of(60, 16)
    np.testing.assert_array_equal(again.rows, BATCH.rows)
    np.testing.assert_allclose(np.linalg.norm(BATCH.rows, axis=1), 1, atol=1e-6)
    assert (np.bincount(BATCH.labels) == 5).all()


@pytest.mark.parametrize("options", [{"jit": True}, {"block_size": 7}])
def test_ways_of_calling_ours_give_the_same(options):
    value, gradient = ours()
    other, other_gradient = ours(**options)
    assert value == pytest.approx(other, abs=1e-6)
    assert value > 0
    np.testing.assert_allclose(gradient, other_gradient, atol=1e-6)


def test_ours_without_xla_gives_the_same_in_a_process_of_its_own():
    order = {
        "module": "with_tensorflow",
        "work": "ours",
        "options": {"loss": "multi_similarity", "xla": False},
        "batch": 60,
        "dim": 16,
        "seconds": 0,
        "libraries": ["tensorflow"],
    }
    command = [sys.executable, "-m", "benchmarks.loss.turn", json.dumps(order)]
    finished = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    )
    result = json.loads(finished.stdout.splitlines()[-1])
    value, gradient = ours()
    assert result["loss"] == pytest.approx(value, abs=1e-5)
    assert result["gradient"] == pytest.approx(np.linalg.norm(gradient), abs=1e-5)
    assert len(result["ms"]) >= 3
    assert set(result["versions"]) == {"python", "tensorflow"}


@has_torch
def test_a_loop_over_anchors_and_the_peer_give_our_loss_and_gradient():
    from benchmarks.loss import with_torch

    value, gradient = ours()
    for work in (with_torch.loop, with_torch.pytorch_metric_learning):
        other, other_gradient = work(BATCH, "multi_similarity")()
        assert other == pytest.approx(value, abs=1e-5)
        # The peer takes rows for their directions, the loop as they are.
        along = (gradient * BATCH.rows).sum(1, keepdims=True)
        off = (other_gradient * BATCH.rows).sum(1, keepdims=True)
        np.testing.assert_allclose(
            other_gradient - off * BATCH.rows,
            gradient - along * BATCH.rows,
            atol=1e-5,
        )


@has_torch
@pytest.mark.parametrize("loss", ["contrastive", "triplet:hard", "nca", "margin"])
def test_peers_of_other_losses_run(loss):
    from benchmarks.loss import with_torch

    value, gradient = with_torch.pytorch_metric_learning(BATCH, loss)()
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_every_loss_of_ours_has_a_row():
    from ms_keras.losses import LOSSES

    rows = contenders.of_other_losses()
    measured = {loss.partition(":")[0] for loss in rows} | {"multi_similarity"}
    assert measured == set(LOSSES)
    assert all(few[0].title == "ms_keras" for few in rows.values())


def benchmark(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.loss", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_program_measures_and_draws(tmp_path):
    out = tmp_path / "loss.json"
    finished = benchmark(
        "--batches=20,8200",
        "--curve=40",
        "--dim=4",
        "--rounds=1",
        "--seconds=0",
        "--contenders=floor,ours",
        f"--out={out}",
    )
    assert finished.returncode == 0, finished.stderr
    assert "| 20 | ms_keras |" in finished.stdout
    result = json.loads(out.read_text())
    assert list(result["multi_similarity"]) == ["20", "40", "8200"]
    row = result["multi_similarity"]["20"]["ours"]
    assert row["over_ours"] == 1
    assert row["over_floor"] == pytest.approx(
        row["ms"] / result["multi_similarity"]["20"]["floor"]["ms"]
    )
    assert report.table(result) in finished.stdout
    assert out.with_suffix(".png").stat().st_size > 5000


def test_what_does_not_finish_is_told_and_the_exit_status_says_so():
    finished = benchmark(
        "--batches=20", "--curve=", "--contenders=ours", "--rounds=1", "--timeout=1"
    )
    assert finished.returncode == 1
    assert "did not finish in 1 s" in finished.stdout
    assert "Error: ms_keras did not finish" in finished.stderr


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--batches=1024,many", "--batches must be numbers from 10 on; got 'many'"),
        ("--curve=3", "--curve must be numbers from 10 on; got '3'"),
        ("--contenders=nobody", "--contenders must be among .*got nobody"),
    ],
)
def test_bad_flags_are_explained(flag, message):
    finished = benchmark(flag)
    assert finished.returncode == 2
    assert re.search(message, finished.stderr)


def test_growth_is_the_slope_between_sizes():
    def at(milliseconds):
        return {"ours": {"ms": milliseconds}}

    sizes = {"1024": at(10.0), "8192": at(640.0), "65536": at(64 * 640.0)}
    assert report.growth(sizes) == (8192, 65536, pytest.approx(2.0))
    assert report.growth({"80": at(1.0), "1024": at(9.0)}) is None
