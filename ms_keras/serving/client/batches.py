"""Many images through a connection: in batches, several at once, in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from absl import logging

from ms_keras.serving.client.contract import Connection, ServerError
from ms_keras.serving.client.retries import Retries
from ms_keras.serving.client.sources import Source, read

A = TypeVar("A")
B = TypeVar("B")

_BATCH_BYTES = 16 * 2**20
_SHOWN = 32  # names in an error


class Image(NamedTuple):
    """An image's name and its file's contents."""

    name: str
    content: bytes


class Answer(NamedTuple):
    """A batch's names and the rows that the server gave for them."""

    names: list[str]
    outputs: dict[str, np.ndarray]


class Plan(NamedTuple):
    """How images are sent.

    Attributes:
        batch_size: Most images in a request; no more than 16 MiB are either, but for
            a single larger image. Defaults to 32.
        concurrency: Requests at a time. Defaults to 8.
        skip_unread: Whether an image that cannot be read is sent empty, so that the
            server tells it is not readable, instead of ending everything. Defaults
            to False.
        retries: When a server is busy.
    """

    batch_size: int = 32
    concurrency: int = 8
    skip_unread: bool = False
    retries: Retries = Retries()


def answers(
    connection: Connection, sources: Sequence[Source], plan: Plan
) -> Generator[Answer, None, None]:
    """Yields what the server gives for images, in their order.

    No more images are in memory than the requests under way hold, and as many that
    are read ahead. When it is closed, or fails, retries and downloads under way end
    too.

    Args:
        connection: The server.
        sources: The images.
        plan: How to send them.

    Raises:
        ServerError: As the server gave it, with the names of the batch's images.
        ValueError: If an image cannot be read.
    """
    stop = threading.Event()

    def ask(batch: list[Image]) -> Answer:
        names = [image.name for image in batch]
        contents = [image.content for image in batch]
        try:
            rows = plan.retries.call(lambda: connection.predict(contents), stop.wait)
        except ServerError as error:
            told = f"{error.message} (images: {_listed(names)})"
            raise ServerError(error.code, told, error.retried) from error
        return Answer(names, rows)

    def load(source: Source) -> Image:
        try:
            return Image(source.name, read(source, plan.retries, stop))
        except ValueError as error:
            if not plan.skip_unread or stop.is_set():
                raise
            logging.warning("Not readable: %s", error)
            return Image(source.name, b"")

    try:
        images = _in_order(load, sources, plan.concurrency, stop)
        batches = _batches(images, plan.batch_size)
        yield from _in_order(ask, batches, plan.concurrency, stop)
    finally:
        stop.set()


def _batches(images: Iterable[Image], batch_size: int) -> Iterator[list[Image]]:
    batch: list[Image] = []
    size = 0
    for image in images:
        full = len(batch) == batch_size or size + len(image.content) > _BATCH_BYTES
        if batch and full:
            yield batch
            batch, size = [], 0
        batch.append(image)
        size += len(image.content)
    if batch:
        yield batch


def _in_order(
    function: Callable[[A], B], items: Iterable[A], window: int, stop: threading.Event
) -> Iterator[B]:
    """Yields a function's results in order, computed by that many threads.

    None is begun once `stop` is set.
    """

    def unless_stopped(item: A) -> B:
        if stop.is_set():
            raise CancelledError
        return function(item)

    pending: deque[Future[B]] = deque()
    pool = ThreadPoolExecutor(window)
    try:
        for item in items:
            pending.append(pool.submit(unless_stopped, item))
            while pending and (len(pending) == window or pending[0].done()):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        # After an error nobody wants the rest.
        pool.shutdown(wait=False, cancel_futures=True)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
