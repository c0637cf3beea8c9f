"""Asks again, later and later, where that can help."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from ms_keras.serving.client.contract import ServerError

T = TypeVar("T")


class Retries(NamedTuple):
    """How often to ask again, and how long to wait before.

    Waits are uniform between nothing and a bound that doubles, so that clients whom a
    server turned away together do not come back together.

    Attributes:
        again: Times to ask again after the first. Defaults to 5.
        first_wait: Bound of the first wait, in seconds. Defaults to 0.2.
        longest_wait: Most that the bound grows to, in seconds. Defaults to 10.
    """

    again: int = 5
    first_wait: float = 0.2
    longest_wait: float = 10.0

    def call(
        self, ask: Callable[[], T], sleep: Callable[[float], object] = time.sleep
    ) -> T:
        """Returns what `ask` returns, asked again while its errors may pass.

        Args:
            ask: Raises ServerError.
            sleep: Waits for seconds; a true result, as an event's `wait` gives when it
                is set, means to ask no more. Defaults to `time.sleep`.

        Raises:
            ServerError: The last one, or the first that cannot pass.
        """
        for attempt in range(self.again):
            try:
                return ask()
            except ServerError as error:
                wait = random.uniform(0, self.bound(attempt))
                if not error.retried or sleep(wait):
                    raise
        return ask()

    def bound(self, attempt: int) -> float:
        """Returns the longest wait after an attempt, counted from 0, in seconds."""
        return min(self.longest_wait, self.first_wait * 2**attempt)
