"""Python that data sets call from threads of their own, and how a program ends then.

A data set goes on filling its buffers while the program ends. A thread of it that waits
for Python when the interpreter shuts down never gets it: the process aborts, or waits
for the thread forever. TensorFlow refuses calls that begin later than that, but not
those that have begun. So before the shutdown we wait until the calls cease, as they do
when buffers are full.
"""

from __future__ import annotations

import atexit
import functools
import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_SILENCE = 0.2  # seconds without a call: buffers are full
_PATIENCE = 10.0  # seconds, in case someone still takes from them

P = ParamSpec("P")
T = TypeVar("T")


class _Calls:
    """How many calls are under way, and when the last one ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way = 0
        self._last_end = float("-inf")

    def begin(self) -> None:
        with self._lock:
            self._under_way += 1

    def end(self) -> None:
        with self._lock:
            self._under_way -= 1
            self._last_end = time.monotonic()

    def have_ceased(self) -> bool:
        with self._lock:
            silence = time.monotonic() - self._last_end
            return not self._under_way and silence > _SILENCE


_calls = _Calls()


def called_from_threads(function: Callable[P, T]) -> Callable[P, T]:
    """Returns the function, whose calls the end of the program waits for."""

    @functools.wraps(function)
    def counted(*args: P.args, **kwargs: P.kwargs) -> T:
        _calls.begin()
        try:
            return function(*args, **kwargs)
        finally:
            _calls.end()

    return counted


@atexit.register
def _wait_for_silence() -> None:
    deadline = time.monotonic() + _PATIENCE
    while not _calls.have_ceased() and time.monotonic() < deadline:
        time.sleep(0.01)
