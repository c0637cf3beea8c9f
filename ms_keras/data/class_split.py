"""Which classes train and which test, where a data set is split by class."""

from __future__ import annotations

import difflib
import pathlib
import re
from collections.abc import Sequence

import numpy as np


def choose_test_classes(names: Sequence[str], spec: str) -> np.ndarray:
    """Returns which classes are for testing; the others train.

    Args:
        names: The classes in order.
        spec: A fraction like `"0.5"`, the last half in order; a range like `"101-200"`,
            positions from 1, both ends included; names `"a,b,c"`; or `"@file.txt"`, a
            name per line.

    Returns:
        `[len(names)]` bool.

    Raises:
        ValueError: If the spec makes no sense for these classes, or leaves none to
            train or to test on.
    """
    chosen: np.ndarray = np.zeros(len(names), bool)
    if spec.startswith("@"):
        chosen[_positions(names, _lines(spec[1:]))] = True
    elif re.fullmatch(r"0?\.\d+", spec):
        chosen[len(names) - round(float(spec) * len(names)) :] = True
    elif match := re.fullmatch(r"(\d+)-(\d+)", spec):
        first, last = (int(position) for position in match.groups())
        if not 1 <= first <= last <= len(names):
            raise ValueError(
                f"--test_classes={spec}: positions must rise and lie between 1 and the "
                f"number of classes, {len(names)}."
            )
        chosen[first - 1 : last] = True
    else:
        chosen[_positions(names, [name.strip() for name in spec.split(",")])] = True
    if chosen.all() or not chosen.any():
        raise ValueError(
            f"--test_classes={spec} leaves {chosen.sum()} of {len(names)} classes to "
            f"test on and {(~chosen).sum()} to train on. Both need some."
        )
    return chosen


def _lines(path: str) -> list[str]:
    file = pathlib.Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"--test_classes=@{path}: no such file.")
    # Some editors put a byte-order mark before the first name.
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _positions(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    positions = {name: position for position, name in enumerate(names)}
    for name in wanted:
        if name not in positions:
            close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
            hint = f"Did you mean {', '.join(close)}?" if close else ""
            raise ValueError(
                f"--test_classes: no class is called {name!r}. {hint} Expected a "
                "fraction (0.5), a range of positions (101-200), names, or @file."
            )
    return [positions[name] for name in wanted]
