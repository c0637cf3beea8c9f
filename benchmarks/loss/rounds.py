"""Rounds in which contenders take turns, batch size by batch size."""

from __future__ import annotations

import importlib.util
import pathlib
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.loss.agreement import off_ours
from benchmarks.loss.contenders import FLOOR, OURS, Contender
from benchmarks.peers import PeerError, python_of
from benchmarks.turns import TurnError, run_turn

_MODULE = "benchmarks.loss.turn"
_ONCE_FROM = 16384  # batches whose single call takes many seconds have one turn


class Rounds:
    """Gives contenders their turns and keeps what came of them.

    Args:
        dim: Length of the rows.
        rounds: Turns of each contender at each size.
        seconds: How long a turn goes on.
        timeout: Seconds of a turn, then it is given up.
        peers_dir: Where the peers' environments are.
    """

    def __init__(
        self,
        dim: int,
        rounds: int,
        seconds: float,
        timeout: float,
        peers_dir: pathlib.Path,
    ) -> None:
        self._dim = dim
        self._rounds = rounds
        self._seconds = seconds
        self._timeout = timeout
        self._peers_dir = peers_dir

    def at(self, batch: int, contenders: Sequence[Contender]) -> dict[str, Any]:
        """Returns the contenders' rows of a table at one batch size, by name."""
        asked = [c for c in contenders if c.least <= batch <= c.most]
        rows: dict[str, Any] = {
            c.name: {"title": c.title, "same": c.same, "turns": [], "trouble": ""}
            for c in asked
        }
        for number in range(1 if batch >= _ONCE_FROM else self._rounds):
            for contender in asked:
                row = rows[contender.name]
                if not row["trouble"]:
                    self._turn(contender, batch, row)
                    told = row["trouble"] or f"{row['turns'][-1]['median_ms']:.3g} ms"
                    name = f"{contender.name}, {batch:,}, round {number + 1}"
                    print(f"{name}: {told}", flush=True)
        for row in rows.values():
            _add_medians(row, rows)
        return rows

    def _turn(self, contender: Contender, batch: int, row: dict[str, Any]) -> None:
        order = {
            "module": contender.module,
            "work": contender.work,
            "options": contender.options,
            "batch": batch,
            "dim": self._dim,
            "seconds": self._seconds,
            "libraries": contender.libraries,
        }
        try:
            python = self._python(contender)
            result = run_turn(python, _MODULE, order, self._timeout)
        except PeerError as error:
            print(f"{contender.title}: {error}", file=sys.stderr, flush=True)
            row["trouble"] = "not installed"
        except TurnError as error:
            row["trouble"] = str(error)
        else:
            times = result.pop("ms")
            result["median_ms"] = statistics.median(times)
            result["calls"] = len(times)
            row["turns"].append(result)

    def _python(self, contender: Contender) -> str:
        if contender.needs and importlib.util.find_spec(contender.needs) is None:
            raise PeerError(f"there is no {contender.needs} in this environment")
        if contender.peer is None:
            return sys.executable
        return str(python_of(contender.peer, self._peers_dir))


def _add_medians(row: dict[str, Any], rows: dict[str, Any]) -> None:
    """Adds medians over rounds, ratios in the same round, and how far off ours."""
    own = [turn["median_ms"] for turn in row["turns"]]
    row["ms"] = statistics.median(own) if own else None
    peaks = [turn["peak_bytes"] for turn in row["turns"]]
    row["peak_bytes"] = None if None in peaks or not peaks else max(peaks)
    ours = next((name for name in rows if name.split("-")[0] == OURS), OURS)
    for key, other in (("over_floor", FLOOR), ("over_ours", ours)):
        theirs = [turn["median_ms"] for turn in rows.get(other, {"turns": []})["turns"]]
        ratios = [a / b for a, b in zip(own, theirs, strict=False)]
        row[key] = statistics.median(ratios) if ratios else None
    turns_of_ours = rows.get(ours, {"turns": []})["turns"]
    row["off_ours"] = off_ours(row["same"], row["turns"], turns_of_ours)
