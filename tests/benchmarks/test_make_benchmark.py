"""`make benchmark` runs every part whatever becomes of the others, and tells."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PARTS = [
    *("loss", "loss", "recall", "step", "input_pipeline", "startup", "serving"),
    *("exits", "rebuild"),
]
# In place of the interpreter: notes what it is to run, and fails where it is told to.
PYTHON = """#!/bin/sh
if [ "$1" = -c ]; then echo 9.9; exit 0; fi
echo "$2 $3" >> "$NOTES"
case " $FAILING " in *" $2 "*) exit 3;; esac
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make here")


def make(folder, *failing, options=()):
    """Returns how `make benchmark` ended, and the lines of what it ran."""
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text(PYTHON)
    python.chmod(0o755)
    version = "{}.{}".format(*sys.version_info)
    for stamp in (".installed", ".installed-test"):
        (folder / f"{stamp}-{version}").touch()
    notes = folder / "notes"
    modules = [f"benchmarks.{part}" for part in failing]
    told = {"NOTES": str(notes), "FAILING": " ".join(modules)}
    finished = subprocess.run(
        ["make", "benchmark", f"PYTHON={sys.executable}", f"VENV={folder}", *options],
        cwd=ROOT,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        check=False,
    )
    return finished, notes.read_text().splitlines()


def test_all_parts_run_and_the_tables_are_rebuilt_last(tmp_path):
    finished, ran = make(tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert [line.split()[0] for line in ran] == [f"benchmarks.{p}" for p in PARTS]
    assert ran[7].endswith("--out=benchmarks/results/exits_tf9.9.json")


def test_what_fails_stops_nothing_and_is_told_at_the_end(tmp_path):
    finished, ran = make(tmp_path, "loss", "exits")
    assert [line.split()[0] for line in ran] == [f"benchmarks.{p}" for p in PARTS]
    assert finished.returncode != 0
    assert "Failed: loss loss exits" in finished.stderr


def test_rounds_are_those_of_the_parts_that_have_turns(tmp_path):
    _, ran = make(tmp_path, options=["ROUNDS=2"])
    with_turns = [line.split()[0] for line in ran if "--rounds=2" in line]
    assert with_turns == [
        f"benchmarks.{part}" for part in ("loss", "loss", "recall", "startup")
    ]
