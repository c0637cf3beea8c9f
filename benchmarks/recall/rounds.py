"""Rounds in which every contender has its turn, in a process of its own."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peers import PeerError, python_of
from benchmarks.recall.contenders import Contender
from benchmarks.turns import TurnError, run_turn

_MODULE = "benchmarks.recall.turn"


class Turns(NamedTuple):
    """What came of a contender's turns.

    Attributes:
        results: Of the finished turns, as `turn` prints them.
        ranks: `[queries]` int64 of the last one, `None` if it looks for nothing.
        trouble: Why there are no more turns; `""` for none.
    """

    results: list[dict[str, Any]]
    ranks: np.ndarray | None
    trouble: str


def all_rounds(
    contenders: Sequence[Contender],
    folder: pathlib.Path,
    peers_dir: pathlib.Path,
    rounds: int,
    timeout: float,
) -> dict[str, Turns]:
    """Gives every contender its turn, round by round, and tells of each.

    A contender that does not finish, or fails, has no further turns.

    Args:
        contenders: Who takes part.
        folder: Where the vectors are; ranks are written beside them.
        peers_dir: Where the peers' environments are.
        rounds: How many.
        timeout: Seconds of a turn, the start of its process included.

    Returns:
        By the contender's name.
    """
    pythons, turns = {}, {}
    for contender in contenders:
        turns[contender.name] = Turns([], None, "")
        try:
            pythons[contender.name] = _python(contender, peers_dir)
        except PeerError as error:
            print(f"{contender.title}: {error}", file=sys.stderr, flush=True)
            turns[contender.name] = Turns([], None, "not installed")
    for number in range(rounds):
        for contender in contenders:
            so_far = turns[contender.name]
            if so_far.trouble:
                continue
            python = pythons[contender.name]
            try:
                result = _turn(contender, python, folder, timeout)
            except TurnError as error:
                turns[contender.name] = so_far._replace(trouble=str(error))
                told = str(error)
            else:
                ranks = _ranks_file(contender, folder)
                turns[contender.name] = Turns(
                    [*so_far.results, result],
                    np.load(ranks) if ranks.exists() else None,
                    "",
                )
                told = " + ".join(
                    f"{part} {seconds:.2f} s"
                    for part, seconds in result["seconds"].items()
                )
            print(f"round {number + 1}: {contender.title}: {told}", flush=True)
    return turns


def _python(contender: Contender, peers_dir: pathlib.Path) -> str:
    if contender.is_missing:
        raise PeerError(f"{contender.needs} is not installed")
    if contender.peer is None:
        return sys.executable
    return str(python_of(contender.peer, peers_dir))


def _turn(
    contender: Contender, python: str, folder: pathlib.Path, timeout: float
) -> dict[str, Any]:
    order = {
        "folder": str(folder),
        "work": contender.work,
        "options": contender.options,
        "ranks": str(_ranks_file(contender, folder)),
        "libraries": contender.libraries,
    }
    return run_turn(python, _MODULE, order, timeout)


def _ranks_file(contender: Contender, folder: pathlib.Path) -> pathlib.Path:
    return folder / f"ranks-{contender.name}.npy"
