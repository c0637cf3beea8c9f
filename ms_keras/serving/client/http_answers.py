"""HTTP answers, read within a time; and which failures may pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError

import requests

# Too many requests, a proxy without its server, unavailable, deadline.
RETRIED = {429, 502, 503, 504}
_PIECE = 2**12  # bytes between two looks at the clock


def pieces_of(
    answer: requests.Response, end: float, stop: threading.Event
) -> Iterator[bytes]:
    """Yields the body of an answer that was asked for with `stream=True`.

    Args:
        answer: The answer, its head read.
        end: When it has to be complete, by `time.monotonic()`. Looked at every 4 KiB.
        stop: Set when nobody wants it any more.

    Raises:
        TimeoutError: If it is not complete by then.
        CancelledError: If it was to stop.
        requests.RequestException: If the connection breaks.
    """
    for piece in answer.iter_content(_PIECE):
        if stop.is_set():
            raise CancelledError
        if time.monotonic() > end:
            raise TimeoutError(f"{answer.url} did not send all of its answer in time")
        yield piece


def may_pass(error: requests.RequestException) -> bool:
    """Whether the same request may succeed later: connections break, servers wake."""
    broken = (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,  # the body was cut short
    )
    return isinstance(error, broken)
