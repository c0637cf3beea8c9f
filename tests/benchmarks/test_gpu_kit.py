"""A kit for GPUs, exported and run on this machine's CPU."""

import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.gpu import report, run
from benchmarks.gpu.jax_peer import JAX, PEERS
from benchmarks.peers import is_installed, python_of

ROOT = pathlib.Path(__file__).parents[2]
DIM, BATCH = 8, 40


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kit") / "kit"
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.gpu.kit"),
            *(f"--out={folder}", f"--batches={BATCH},8200", f"--dim={DIM}"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return folder


def measured(kit, python, contenders, tmp_path, batches=(BATCH,)):
    """Runs a kit, far from this repository, and returns its rows."""
    folder = tmp_path / "carried"
    shutil.copytree(kit, folder)
    about = json.loads((folder / "kit.json").read_text())
    (folder / "kit.json").write_text(json.dumps({**about, "batches": list(batches)}))
    command = [python, folder / "run.py", f"--contenders={contenders}"]
    out = tmp_path / "gpu.json"
    finished = subprocess.run(
        [*map(str, command), f"--out={out}", "--precisions=fp32,bf16"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(out.read_text())


def expected(batch=BATCH):
    """Returns loss and norm of the gradient, by a loop over anchors in float64."""
    labels, rows = run.batch_of(batch, DIM)
    rows = rows.astype(np.float64)
    similarities = rows @ rows.T
    total, weights = 0.0, np.zeros_like(similarities)
    for i in range(batch):
        same = labels == labels[i]
        positive = np.flatnonzero(same & (np.arange(batch) != i))
        negative = np.flatnonzero(~same)
        s = similarities[i]
        kept = [j for j in positive if s[j] < s[negative].max() + 0.1]
        pushed = [j for j in negative if s[j] > s[positive].min() - 0.1]
        pull, push = np.exp(-2 * (s[kept] - 0.5)), np.exp(40 * (s[pushed] - 0.5))
        total += np.log1p(pull.sum()) / 2 + np.log1p(push.sum()) / 40
        weights[i, kept] = -pull / (1 + pull.sum())
        weights[i, pushed] = push / (1 + push.sum())
    gradient = (weights + weights.T) @ rows / batch
    gradient -= (gradient * rows).sum(1, keepdims=True) * rows
    return total / batch, np.linalg.norm(gradient)


def check(rows):
    loss, gradient = expected()
    for row in rows:
        assert not row.get("trouble"), row
        loose = row["precision"] != "fp32"
        assert row["loss"] == pytest.approx(loss, rel=2e-2 if loose else 1e-5)
        assert row["gradient"] == pytest.approx(gradient, rel=5e-2 if loose else 1e-4)
        assert row["ms"] > 0


def test_another_front_end_of_xla_computes_the_loss(kit, tmp_path):
    if not is_installed(JAX, PEERS):
        pytest.skip("no JAX; python -m benchmarks.gpu.jax_peer installs it")
    python = python_of(JAX, PEERS)
    result = measured(kit, python, "hlo", tmp_path, (BATCH, 8200))
    check([row for row in result["found"] if row["batch"] == BATCH])
    # Larger than what is kept whole: the loop over blocks, exported too.
    assert all(np.isfinite(row["loss"]) for row in result["found"])


def test_tensorflow_and_pytorch_compute_the_loss(kit, tmp_path):
    contenders = "tensorflow"
    if importlib.util.find_spec("pytorch_metric_learning"):
        contenders += ",torch,pml"
    result = measured(kit, sys.executable, contenders, tmp_path)
    check(result["found"])
    table = report.table(result)
    assert f"| {BATCH} | fp32 | tensorflow |" in table


def test_what_is_missing_is_told_and_the_others_go_on(kit, tmp_path):
    if importlib.util.find_spec("jax"):
        pytest.skip("JAX is here")
    result = measured(kit, sys.executable, "hlo,tensorflow", tmp_path)
    rows = {(r["contender"], r["precision"]): r for r in result["found"]}
    assert "jax" in rows["hlo", "fp32"]["trouble"]
    assert not rows["tensorflow", "fp32"].get("trouble")
    assert "No module named 'jax'" in report.table(result)


def test_an_unfinished_kit_is_not_left(tmp_path):
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.gpu.kit"),
            *(f"--out={tmp_path}/kit", "--batches=many"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 2
    assert "--batches must be whole numbers" in finished.stderr
    assert list(tmp_path.iterdir()) == []
