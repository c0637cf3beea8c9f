"""A contender's turn at one batch size, in a process of its own.

    python -m benchmarks.loss.turn '{"module": "with_tensorflow", "work": "floor", ...}'

The library is warm from a small batch before anything of the asked size is computed.
Peak memory is that beyond what is in use when the library has its inputs: tracing,
compilation, all pairs, and the gradient count, the inputs themselves do not. The last
line of what it prints is the result as JSON.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import platform
import sys
import time
from typing import Any

import numpy as np

from benchmarks.loss.data import PER_CLASS, batch_of
from benchmarks.memory import IN_USE, PEAK, memory, release_freed, reset_peak

_WARM_ROWS = 8 * PER_CLASS
_FEWEST_CALLS, _MOST_CALLS = 3, 2000
_LONG = 20.0  # seconds of a call beside which tracing and compiling are nothing


def main(order: dict[str, Any]) -> dict[str, Any]:
    """Calls a loss and its gradient again and again.

    Args:
        order: `module` and name of the `work`, its `options`, `batch` and `dim`,
            `seconds` to go on for, `libraries` whose versions are wanted.

    Returns:
        `first_ms`, with tracing and compilation, `ms` of every later call, or of the
        first where it takes long, `loss`, `gradient`, its norm, `peak_bytes` beyond the
        inputs or `None`, and `versions`.
    """
    module = importlib.import_module(f"benchmarks.loss.{order['module']}")
    work = getattr(module, order["work"])
    small = work(batch_of(_WARM_ROWS, order["dim"]), **order["options"])
    small(), small()
    call = work(batch_of(order["batch"], order["dim"]), **order["options"])
    release_freed()
    before = memory(IN_USE)
    reset = reset_peak()
    (loss, gradient), first = _timed(call)
    norm = float(np.linalg.norm(gradient))
    del gradient
    times = [first] if first > _LONG else []
    while first <= _LONG and (
        len(times) < _FEWEST_CALLS
        or (sum(times) < order["seconds"] and len(times) < _MOST_CALLS)
    ):
        times.append(_timed(call)[1])
    peak = memory(PEAK) if reset else None
    return {
        "first_ms": 1000 * first,
        "ms": [1000 * seconds for seconds in times],
        "loss": loss,
        "gradient": norm,
        "peak_bytes": None if peak is None or before is None else peak - before,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in order["libraries"]},
        },
    }


def _timed(call: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
