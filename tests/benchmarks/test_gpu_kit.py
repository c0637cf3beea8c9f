"""A kit for GPUs, exported and run on this machine's CPU."""

import importlib.util
import json
import pathlib
import re
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
    out = tmp_path / "gpu.json"
    finished = run_kit(
        *(python, folder, f"--contenders={contenders}", f"--out={out}"),
        *(f"--batches={','.join(map(str, batches))}", "--precisions=fp32,bf16"),
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(out.read_text())


def run_kit(python, folder, *options):
    return subprocess.run(
        [*map(str, [python, folder / "run.py", *options])],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )


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
    assert f"| {BATCH} | bf16 rows, tf32 products | tensorflow |" in table
    if "pml" in contenders:
        assert f"| {BATCH} | bf16 | torch |" in table
        assert result["machine"]["versions"]["torch"]
        assert not result["ceilings"].get("trouble")


def test_the_peer_without_its_miner_runs_too(kit, tmp_path):
    pytest.importorskip("pytorch_metric_learning", reason="an extra of the tests")
    result = measured(kit, sys.executable, "pml-all", tmp_path)
    for row in result["found"]:
        assert row["loss"] > 0
        assert row["gradient"] > 0


PRECISION_OF_THE_PRODUCTS = """
import re, sys
from benchmarks.gpu.kit import hlo_of
for precision in ("fp32", "tf32", "bf16"):
    text = hlo_of(40, 8, precision, stage="hlo")
    products = [line for line in text.splitlines() if " dot(" in line]
    told = set(re.findall("operand_precision={(.*?)}", "".join(products)))
    print(precision, len(products), *sorted(told) or ["rounded"])
"""


def test_products_may_be_rounded_unless_they_are_to_be_fp32():
    finished = subprocess.run(
        [sys.executable, "-c", PRECISION_OF_THE_PRODUCTS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.splitlines() == [
        "fp32 2 highest,highest",
        "tf32 2 rounded",
        "bf16 2 rounded",
    ]


def test_rows_come_in_the_order_asked_for_and_the_table_by_size(kit, tmp_path):
    result = measured(kit, sys.executable, "torch,hlo", tmp_path, (8200, BATCH))
    came = [(r["precision"], r["batch"], r["contender"]) for r in result["found"]]
    assert came == [
        (precision, batch, contender)
        for precision in ("fp32", "bf16")
        for batch in (8200, BATCH)
        for contender in ("torch", "hlo")
    ]
    sizes = [line.split(" | ")[0] for line in report.table(result).splitlines()[2:]]
    assert sizes[:8] == ["| 40"] * 4 + ["| 8,200"] * 4


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--contenders=hlo,cuda", "must be among hlo, .*got cuda"),
        ("--batches=41", "must be among 40, 8200; got 41"),
        ("--precisions=fp8", "must be among fp32, tf32, bf16; got fp8"),
    ],
)
def test_what_a_kit_has_not_is_refused(kit, option, message):
    finished = run_kit(sys.executable, kit, option)
    assert finished.returncode == 2
    assert re.search(message, finished.stderr)


def a_row(precision, contender):
    return {
        **{"contender": contender, "batch": 1000, "precision": precision},
        "products": run.products_of(contender, precision),
        **{"ms": 1.0, "peak_bytes": None, "loss": 1.0, "gradient": 1.0},
    }


def test_a_share_is_of_the_ceiling_of_the_products_that_were_computed():
    # 4 x 1000^2 x 5 operations in a millisecond: 2e10 in a second.
    ceilings = {"fp32": 2e10, "tf32": 4e10, "bf16": 8e10}
    rows = [a_row("bf16", "hlo"), a_row("bf16", "pml"), a_row("fp32", "hlo")]
    told = report.table({"kit": {"dim": 5}, "ceilings": ceilings, "found": rows})
    assert [line.split(" | ")[1:6] for line in told.splitlines()[2:]] == [
        ["fp32", "hlo", "1.000", "", "100%"],
        ["bf16 rows, tf32 products", "hlo", "1.000", "", "50%"],
        ["bf16", "pml", "1.000", "", "25%"],
    ]


def test_ceilings_that_failed_are_told():
    result = {"kit": {"dim": 5}, "ceilings": {"trouble": "No module named 'torch'"}}
    told = report.table({**result, "found": [a_row("fp32", "hlo")]})
    assert told.endswith("The ceilings were not measured: No module named 'torch'")


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
