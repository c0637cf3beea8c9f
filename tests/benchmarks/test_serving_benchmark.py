"""The load test on a small scale: it counts answers, and would see a mixed-up one."""

import json
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks import serving

ROOT = pathlib.Path(__file__).parents[2]


def test_each_answer_is_of_its_own_image(tmp_path):
    pytest.importorskip("tensorflow_serving.apis.predict_pb2")
    out = tmp_path / "serving.json"
    command = [sys.executable, "-m", "benchmarks.serving", "--seconds=1"]
    finished = subprocess.run(
        [*command, "--clients=4", f"--out={out}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    result = json.loads(out.read_text())
    assert result["clients_that_ended"] == 4
    assert result["answers"] > 0
    assert result["wrong"] == result["refused"] == 0
    assert 0 < result["p50_ms"] <= result["p99_ms"]
    assert "| of another image, or refused | 0, 0 |" in finished.stdout


def test_a_mixed_up_answer_is_counted(monkeypatch):
    class MixedUp:
        def predict(self, contents):
            return {"embeddings": np.ones((1, 2))}

        def close(self):
            pass

    monkeypatch.setattr(serving, "connect", lambda *_: MixedUp())
    rows = np.array([[0.0, 1.0], [1.0, 0.0]])
    end = time.perf_counter() + 0.05
    seen = serving.one_client("", [b"a", b"b"], rows, 0, end)
    assert seen.wrong
    assert len(seen.wrong) == len(seen.latencies)
