"""Joins the requests of many clients into one call, as TF Serving's batching does."""

import queue
import threading
import time
from concurrent.futures import Future

import numpy as np


class Joined:
    """A function of one array whose calls are joined along the first axis."""

    def __init__(self, function, max_rows=32, seconds=0.005, enqueued=4096):
        self._function = function
        self._max_rows = max_rows
        self._seconds = seconds
        self._waiting = queue.Queue(enqueued)
        threading.Thread(target=self._work, daemon=True).start()

    def __call__(self, rows):
        """Returns the rows' part of a joined call; raises queue.Full when busy."""
        future = Future()
        self._waiting.put_nowait((rows, future))
        return future.result()

    def _work(self):
        left = None
        while True:
            parts = [left or self._waiting.get()]
            left = None
            deadline = time.monotonic() + self._seconds
            while True:
                try:
                    wait = max(0, deadline - time.monotonic())
                    part = self._waiting.get(timeout=wait) if wait else None
                    part = part or self._waiting.get_nowait()
                except queue.Empty:
                    break
                if sum(len(r) for r, _ in [*parts, part]) > self._max_rows:
                    left = part
                    break
                parts.append(part)
            self._answer(parts)

    def _answer(self, parts):
        try:
            outputs = self._function(np.concatenate([rows for rows, _ in parts]))
        except Exception as error:  # whoever asked is told
            for _, future in parts:
                future.set_exception(error)
            return
        start = 0
        for rows, future in parts:
            end = start + len(rows)
            future.set_result({k: v[start:end] for k, v in outputs.items()})
            start = end
