"""The benchmark of losses: contenders compute the same, failures are told."""

import importlib.util
import json
import pathlib
import re
import subprocess
import sys
import types

import numpy as np
import pytest

from benchmarks import memory
from benchmarks.loss import (
    contenders,
    other_losses,
    report,
    rounds,
    targets,
    turn,
    with_tensorflow,
)
from benchmarks.loss.agreement import TOLERANCE, disagreements, off_ours
from benchmarks.loss.data import batch_of
from ms_keras.losses import blocks

ROOT = pathlib.Path(__file__).parents[2]
BATCH = batch_of(60, 16)
has_torch = pytest.mark.skipif(
    importlib.util.find_spec("pytorch_metric_learning") is None,
    reason="pytorch-metric-learning is an extra of the tests",
)
has_addons = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_addons") is None,
    reason="tensorflow_addons: Python 3.10-3.11 with TensorFlow 2.15 only",
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


COMPILED = """
import sys
from benchmarks.loss import with_tensorflow
from benchmarks.loss.data import batch_of

def graph_of(function, *arguments):
    return str(function.get_concrete_function(*arguments).graph.as_graph_def())

with_tensorflow._call = graph_of
batch = batch_of(int(sys.argv[2]), 16)
graph = with_tensorflow.ours(batch, "multi_similarity", xla=sys.argv[1] == "xla")
print("MatMul" in graph, "_XlaMustCompile" in graph)
"""


@pytest.mark.parametrize("rows", ["60", "300"])
@pytest.mark.parametrize("xla", ["xla", "no xla"])
def test_ours_is_compiled_or_not_as_it_is_asked_for(xla, rows):
    command = [sys.executable, "-c", COMPILED, xla, rows]
    finished = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert finished.stdout.split() == ["True", str(xla == "xla")]


def test_the_floor_multiplies_whatever_the_last_block_has(monkeypatch):
    rows = BATCH.rows.astype("f8")
    value, product = with_tensorflow.floor(BATCH)()
    np.testing.assert_allclose(product, rows @ rows.T @ rows, atol=1e-4)
    assert value == pytest.approx(1)
    monkeypatch.setattr(blocks, "DENSE_PAIRS", 100)
    for in_block in (7, 20, 60):  # 60 are not so many sevens
        monkeypatch.setattr(blocks, "_PAIRS_PER_BLOCK", in_block * 60)
        _, product = with_tensorflow.floor(BATCH)()
        expected = [
            (rows[i : i + in_block] + rows[i] @ rows[0]) @ rows.T @ rows
            for i in range(0, 60, in_block)
        ]
        np.testing.assert_allclose(product, np.concatenate(expected), atol=1e-3)


@has_torch
def test_a_loop_over_anchors_and_the_peer_give_our_loss_and_gradient():
    from benchmarks.loss import with_torch

    value, gradient = ours()
    for work in (with_torch.loop, with_torch.pytorch_metric_learning):
        other, other_gradient = work(BATCH, "multi_similarity")()
        assert other == pytest.approx(value, abs=1e-5)
        np.testing.assert_allclose(other_gradient, gradient, atol=1e-5)


def by_name(prefix, same):
    """Returns loss and options of such contenders that have it in common with ours."""
    return [
        pytest.param(loss, contender.options, id=contender.name)
        for loss, few in other_losses.of_other_losses().items()
        for contender in few
        if contender.name.startswith(prefix)
        and (contender.same == contenders.BOTH) == same
    ]


def agrees_with_ours(loss, result):
    value, gradient = ours(loss)
    assert result[0] == pytest.approx(value, rel=1e-4)
    assert value > 0
    np.testing.assert_allclose(result[1], gradient, rtol=1e-3, atol=1e-5)


@has_torch
@pytest.mark.parametrize(("loss", "options"), by_name("pml", True))
def test_peers_that_say_so_give_our_other_losses(loss, options):
    from benchmarks.loss import with_torch

    agrees_with_ours(loss, with_torch.pytorch_metric_learning(BATCH, **options)())


@has_torch
@pytest.mark.parametrize(("loss", "options"), by_name("pml", False))
@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
def test_peers_of_another_formula_run(loss, options):
    from benchmarks.loss import with_torch

    value, gradient = with_torch.pytorch_metric_learning(BATCH, **options)()
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@has_addons
@pytest.mark.parametrize(("loss", "options"), by_name("addons", True))
def test_addons_gives_our_loss_where_it_says_so(loss, options):
    from benchmarks.loss import with_addons

    agrees_with_ours(loss, with_addons.addons(BATCH, **options)())


@has_addons
@pytest.mark.parametrize(("loss", "options"), by_name("addons", False))
def test_addons_of_another_formula_runs(loss, options):
    from benchmarks.loss import with_addons

    value, gradient = with_addons.addons(BATCH, **options)()
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.skipif(not memory.reset_peak(), reason="this system tells no peak")
@pytest.mark.parametrize("held", [1, 40])
def test_the_peak_is_that_of_calling_beyond_the_inputs(monkeypatch, held):
    def work(batch):
        inputs = np.tile(batch.rows, (held, 1))  # 2 MB or 82

        def call():
            return float(np.ones(12 << 20).sum()), inputs[:1]  # 101 MB

        return call

    module = types.ModuleType("allocating")
    module.work = work
    monkeypatch.setitem(sys.modules, "benchmarks.loss.allocating", module)
    order = {"module": "allocating", "work": "work", "options": {}, "batch": 1000}
    result = turn.main({**order, "dim": 512, "seconds": 0, "libraries": []})
    assert result["peak_bytes"] == pytest.approx(8 * 12 * 2**20, rel=0.1)


def test_every_loss_of_ours_has_a_row():
    from ms_keras.losses import LOSSES

    rows = other_losses.of_other_losses()
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
    for rows in result["multi_similarity"].values():
        assert [row["trouble"] for row in rows.values()] == ["", ""]
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
    assert "multi_similarity of 20: ms_keras did not finish" in finished.stderr


def test_a_module_that_is_not_here_is_told_and_the_others_go_on(capsys, tmp_path):
    floor = contenders.OF_MULTI_SIMILARITY[0]
    missing = floor._replace(name="missing", needs="no_such_module")
    rows = rounds.Rounds(4, 1, 0.0, 300.0, tmp_path).at(20, [missing, floor])
    assert [row["trouble"] for row in rows.values()] == ["not installed", ""]
    assert "there is no no_such_module in this environment" in capsys.readouterr().err


def a_row(title, same, loss, gradient, ms=1.0, peak=1000):
    turns = [{"loss": loss, "gradient": gradient, "median_ms": ms}]
    return {
        **{"title": title, "same": same, "turns": turns, "trouble": ""},
        **{"ms": ms, "peak_bytes": peak, "over_floor": None, "over_ours": None},
        "off_ours": off_ours(same, turns, [{"loss": 2.0, "gradient": 0.5}]),
    }


def test_only_what_should_be_the_same_and_is_not_is_a_disagreement():
    both, loss_only = contenders.BOTH, contenders.LOSS_ONLY
    rows = {
        "right": a_row("right", both, 2.0 + TOLERANCE, 0.5),
        "floor": a_row("floor", "", 9.0, 9.0),
        "other": a_row("other", contenders.ANOTHER, 9.0, 9.0),
        "bare": a_row("bare", loss_only, 2.0, 0.6),
        "off": a_row("off", both, 2.0, 0.6),
        "nan": a_row("nan", loss_only, float("nan"), 0.5),
    }
    told = disagreements(rows)
    assert told == [
        "off: its gradient is 20.0% off ours",
        "nan: its loss is nan% off ours",
    ]
    table = report.table(
        {"multi_similarity": {"20": rows}, "dim": 1, "growth": None, "others": {}}
    )
    cells = {
        line.split(" | ")[1]: line.split(" | ")[-1]
        for line in table.splitlines()
        if line.startswith("| 20 |")
    }
    assert cells == {
        **{"right": "5e-04 |", "floor": " |", "other": "another loss |"},
        **{"bare": "0, the loss |", "off": "2e-01 |", "nan": "nan, the loss |"},
    }


def test_other_losses_have_a_table_of_their_own():
    rows = {"ms_keras-nca": a_row("ms_keras", contenders.BOTH, 2.0, 0.5)}
    table = report.table(
        {
            "multi_similarity": {},
            "dim": 1,
            "growth": None,
            "others": {"nca": {"20": rows}},
        }
    )
    assert table.startswith("| loss | batch |")
    assert "| nca | 20 | ms_keras | 1.00 |" in table


PROBLEMS = """
import json, sys
from benchmarks.loss.__main__ import problems
sys.exit(problems(json.loads(sys.argv[1])))
"""


@pytest.mark.parametrize(("gradient", "status"), [(0.5, 0), (0.6, 1)])
def test_the_exit_status_tells_a_disagreement(gradient, status):
    rows = {
        "ours": a_row("ms_keras", contenders.BOTH, 2.0, 0.5),
        "peer": a_row("a peer", contenders.BOTH, 2.0, gradient),
    }
    for result in (
        {"multi_similarity": {"20": rows}, "others": {}},
        {"multi_similarity": {}, "others": {"nca": {"20": rows}}},
    ):
        command = [sys.executable, "-c", PROBLEMS, json.dumps(result)]
        finished = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert finished.returncode == status, finished.stderr
        assert ("of 20: a peer: its gradient" in finished.stderr) == bool(status)


def test_targets_are_ratios_to_the_best_form_of_a_peer():
    def row(ms, peak):
        return a_row("", contenders.BOTH, 2.0, 0.5, ms, peak)

    rows = {
        **{"floor": row(4.0, 1), "ours": row(6.0, 5_002_000), "tfsim": row(8.0, 4000)},
        **{"tfsim-unit": row(20.0, 9000), "tfsim-jit-unit": row(12.0, 10_004_000)},
        "ours-blocks": row(7.0, 1000),
    }
    told = targets.targets_table({"1000": rows, "16": {"floor": row(1.0, 1)}}, dim=2)
    assert told.splitlines()[2:] == [
        "| 1,000 | 1.50 | 0.75 | 0.50 | 1250.50 | 0.25 | 5 |"
    ]


def test_sizes_begin_with_what_the_smallest_peer_can_do():
    few = other_losses.of_other_losses()
    assert other_losses.sizes_of(few["contrastive"]) == (1024, 8192)
    assert other_losses.sizes_of(few["triplet:semi_hard"]) == (512, 1024, 8192)


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
