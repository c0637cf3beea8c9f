"""The benchmarks of training run in small and tell what they promise; no timing."""

import json
import pathlib
import statistics
import subprocess
import sys

import pytest

from benchmarks import paired, startup

ROOT = pathlib.Path(__file__).parents[2]
SMALL = (
    "--backbone=small_conv",
    "--image_size=32",
    "--short_side=32",
    "--freeze_until=",
    "--embedding_dim=8",
    "--classes_per_batch=4",
    "--turns=2",
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
    seconds = result["seconds"]
    assert set(seconds) == {"with statistics", "without statistics", "cross-entropy"}
    assert all(turn > 0 for turns in seconds.values() for turn in turns)
    for name, more in result["ours_over"].items():
        assert more == paired.excess(seconds["with statistics"], seconds[name])
        assert f"| {name} |" in told
    assert set(result["ours_over"]) == set(seconds) - {"with statistics"}
    middle = statistics.median(seconds["with statistics"])
    assert result["share_alone"] == pytest.approx(result["seconds_alone"] / middle)
    assert "statistics of 20 rows of 8 take" in told
    assert result["machine"]["cores"] >= 1


def test_an_interval_is_that_of_students_t_over_the_same_turns():
    found = paired.excess([1.1, 2.4, 3.3], [1.0, 2.0, 3.0])
    assert found["mean"] == pytest.approx(0.4 / 3)
    # 0.1, 0.2, 0.1: standard deviation 0.1 / sqrt 3, and 4.3027 for two degrees.
    assert found["high"] - found["mean"] == pytest.approx(4.3027 * 0.1 / 3, rel=1e-4)
    assert found["mean"] - found["low"] == pytest.approx(4.3027 * 0.1 / 3, rel=1e-4)
    assert paired.told(found) == "+13.3% (-1.0% to +27.7%)"


def test_one_turn_has_no_interval_and_none_is_refused():
    found = paired.excess([1.0], [2.0])
    assert found == {"mean": -0.5, "low": None, "high": None}
    assert paired.told(found) == "-50.0%"
    with pytest.raises(ValueError, match="got 2 and 1"):
        paired.excess([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="one at least; got 0 and 0"):
        paired.excess([], [])


def test_the_pipeline_is_compared_with_bare_loops(tmp_path):
    told, result = run(
        "input_pipeline", tmp_path / "ip.json", "--batches=1", "--skipped_batches=0"
    )
    assert len(result["ours_over_theirs"]) == 2
    assert 0 <= result["training"]["share_waiting"] <= 1
    assert result["machine"]["cores"] >= 1
    assert "wait for images" in told


def test_the_first_step_and_the_second_are_timed_with_a_cache_and_without(tmp_path):
    assert [seconds > 0 for seconds in startup.first_steps(80)] == [True, True]
    try:
        cached = startup.first_steps(300, str(tmp_path))
    except startup.StepError:
        # Not every TensorFlow can keep what XLA compiled for the CPU.
        return
    assert len(cached) == 2
    assert any(tmp_path.rglob("*"))


def test_a_first_step_that_fails_is_told(monkeypatch):
    raising = "raise KeyError('no such step') from None"
    monkeypatch.setattr(startup, "_FIRST_STEP", raising)
    with pytest.raises(startup.StepError, match="failed: KeyError: 'no such step'"):
        startup.first_steps(80)


def test_an_error_is_told_by_its_last_line_that_is_no_place(monkeypatch):
    several = "raise ValueError('none kept\\n\\t [[{{node}}]] [Op:step]')"
    monkeypatch.setattr(startup, "_FIRST_STEP", several)
    with pytest.raises(startup.StepError, match=r"failed: ValueError: none kept$"):
        startup.first_steps(80)


def test_an_empty_cache_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(startup, "_FIRST_STEP", "print(1.0), print(2.0)")
    assert startup.first_steps(80) == [1.0, 2.0]
    with pytest.raises(startup.StepError, match="left nothing in its cache"):
        startup.first_steps(80, str(tmp_path))
    (tmp_path / "folder").mkdir()
    with pytest.raises(startup.StepError, match="left nothing in its cache"):
        startup.first_steps(80, str(tmp_path))
    (tmp_path / "folder" / "kept").touch()
    assert startup.first_steps(80, str(tmp_path)) == [1.0, 2.0]


def test_the_cache_is_asked_for_beside_what_xla_was_told_already(monkeypatch, tmp_path):
    told = "import os; assert os.environ['TF_XLA_FLAGS'] == {!r}, os.environ; print(1)"
    here = (
        f"--tf_xla_persistent_cache_directory={tmp_path} "
        "--tf_xla_persistent_cache_device_types=CPU,GPU"
    )
    (tmp_path / "kept").touch()
    for already, expected in (("--some=1", f"--some=1 {here}"), ("", here)):
        monkeypatch.setenv("TF_XLA_FLAGS", already)
        monkeypatch.setattr(startup, "_FIRST_STEP", told.format(expected))
        assert startup.first_steps(80, str(tmp_path)) == [1.0]


@pytest.fixture
def started(monkeypatch):
    """Every process takes a second; with a cache they fail if told so."""
    failing = []

    def first_steps(rows, cache=""):
        if cache in failing:
            raise startup.StepError("It broke.")
        return [0.5, 0.25] if cache else [rows / 2, rows / 4]

    monkeypatch.setattr(startup, "whole_process", lambda arguments: 1.0)
    monkeypatch.setattr(startup, "first_steps", first_steps)
    return failing


def told_by_startup(seconds, trouble):
    return startup.table(
        {"seconds": seconds, "import_ratio": 1.125, "no_cache": trouble}
    )


def test_everything_is_measured_as_often_as_there_are_rounds(started):
    seconds, trouble = startup.measure("folder", 3)
    assert trouble == ""
    assert all(len(values) == 3 for values in seconds.values())
    assert seconds["first step, 80 rows"] == [40.0] * 3
    assert seconds["second step, 1,024 rows"] == [256.0] * 3
    assert seconds["second step, 1,024 rows, XLA's cache"] == [0.25] * 3
    told = told_by_startup(seconds, trouble)
    assert "| import tensorflow | 1.000 (1.000 to 1.000) |" in told
    assert "| first step, 1,024 rows, XLA's cache | 0.500 (0.500 to 0.500) |" in told
    assert told.endswith("`import ms_keras` takes 1.12 of `import tensorflow`.")


def test_without_a_cache_the_table_says_why(started, capsys):
    started.append("folder")
    seconds, trouble = startup.measure("folder", 2)
    assert not [name for name in seconds if "XLA's cache" in name]
    assert len(seconds["first step, 1,024 rows"]) == 2
    assert told_by_startup(seconds, trouble).endswith(
        "XLA's cache serves nothing here. It broke."
    )
    assert capsys.readouterr().err.count("It broke.") == 1


def test_a_step_that_fails_without_a_cache_ends_the_benchmark(started):
    started.append("")
    with pytest.raises(startup.StepError, match="It broke"):
        startup.measure("folder", 1)
