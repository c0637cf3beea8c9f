"""A contender's turn, in a process of its own.

    python -m benchmarks.recall.turn '{"work": "floor", "options": {}, ...}'

Its library is loaded, and warm from a few rows, before the clock starts. The last line
of what it prints is the result as JSON.
"""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import platform
import sys
from typing import Any

import numpy as np

from benchmarks.memory import IN_USE, PEAK, memory, reset_peak
from benchmarks.recall.vectors import read_vectors
from benchmarks.recall.works import WORKS

_WARM_ROWS = 2000


def main(order: dict[str, Any]) -> dict[str, Any]:
    """Does a contender's work once.

    Args:
        order: `folder` of the vectors; `work`, a name of `WORKS`, and its `options`;
            the file to write `ranks` to; `libraries` whose versions are wanted.

    Returns:
        `seconds` by part of the work; `peak_bytes` of memory beyond what was in use
        before it, the vectors included, or `None` where the system does not tell;
        `settings` and `versions`.
    """
    rows, labels = read_vectors(pathlib.Path(order["folder"]))
    work = WORKS[order["work"]]
    work(rows[:_WARM_ROWS], labels[:_WARM_ROWS], **order["options"])
    rows.sum()  # brings all of them in from the file
    before = memory(IN_USE)
    reset = reset_peak()
    found = work(rows, labels, **order["options"])
    peak = memory(PEAK) if reset else None
    if found.ranks is not None:
        np.save(order["ranks"], found.ranks)
    return {
        "seconds": found.seconds,
        "peak_bytes": None if peak is None or before is None else peak - before,
        "settings": found.settings,
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            **{name: importlib.metadata.version(name) for name in order["libraries"]},
        },
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
