"""A contender's turn: a module run in a process of its own, on all cores."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

_REPOSITORY = pathlib.Path(__file__).parents[1]
# All use all cores, whatever this shell says.
_THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


class TurnError(RuntimeError):
    """A turn that came to no result; the message is for the table."""


def run_turn(
    python: str, module: str, order: dict[str, Any], timeout: float
) -> dict[str, Any]:
    """Returns what a module prints last, as JSON, when it is given an order.

    Args:
        python: The interpreter that has what the module needs.
        module: Run as `python -m module '{...}'` from the repository.
        order: What it is told, of JSON's types.
        timeout: Seconds, the start of the process included.

    Raises:
        TurnError: If it takes longer, fails, or is ended.
    """
    try:
        process = subprocess.run(
            [python, "-m", module, json.dumps(order)],
            cwd=_REPOSITORY,
            env=_environment(),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise TurnError(f"did not finish in {timeout:g} s") from None
    except subprocess.CalledProcessError as error:
        if error.returncode < 0:
            name = signal.Signals(-error.returncode).name
            raise TurnError(f"was ended by {name}") from None
        print(error.stderr, file=sys.stderr, flush=True)
        raise TurnError("failed") from None
    return json.loads(process.stdout.splitlines()[-1])


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in _THREAD_LIMITS}
    return {**kept, "CUDA_VISIBLE_DEVICES": "-1"}  # a comparison of processors
