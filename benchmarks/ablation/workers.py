"""Tasks done by processes of one thread each, which end when their master ends."""

from __future__ import annotations

import collections
import contextlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar

import tensorflow as tf

_NOTICES = "TF_CPP_MIN_LOG_LEVEL"

T = TypeVar("T")
R = TypeVar("R")


class WorkerError(RuntimeError):
    """A worker failed, or was killed."""


class _Worker(Generic[T, R]):
    """A process, and the way to it."""

    def __init__(self, work: Callable[[T], R]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, work), daemon=True)
        with _inherited_by_workers():
            self._process.start()
        theirs.close()  # or its death would go unnoticed

    def hand(self, task: T) -> None:
        """Gives it a task."""
        with contextlib.suppress(ConnectionError):  # result_of tells of its death
            self.connection.send(task)

    def result_of(self, task: T) -> R:
        """Returns what it made of the task that it was given."""
        try:
            result, told = self.connection.recv()
        except (EOFError, ConnectionError):
            raise WorkerError(
                f"A worker was ended at {task}, perhaps for want of memory."
            ) from None
        if isinstance(told, ValueError):
            raise told
        if told:
            raise WorkerError(f"A worker failed at {task}:\n{told}")
        return result

    def end(self) -> None:
        """Ends the process, whatever it does."""
        self._process.terminate()
        self._process.join()
        self.connection.close()


def done_by_workers(
    work: Callable[[T], R], tasks: Sequence[T], workers: int
) -> Generator[tuple[T, R], None, None]:
    """Yields tasks with their results as they are done.

    Close the iterator if you leave early: that ends the processes.

    Args:
        work: What to do, a function that can be pickled.
        tasks: What to do it with, in order.
        workers: How many processes.

    Raises:
        ValueError: If `work` raises one.
        WorkerError: If `work` raises something else, or a process is killed.
    """
    waiting = collections.deque(tasks)
    members: list[_Worker[T, R]] = []
    try:
        for _ in range(min(workers, len(waiting))):
            members.append(_Worker(work))
        busy = {member: waiting.popleft() for member in members}
        for member, task in busy.items():
            member.hand(task)
        while busy:
            ready = wait([member.connection for member in busy])
            for member in [m for m in busy if m.connection in ready]:
                task = busy.pop(member)
                result = member.result_of(task)
                if waiting:
                    busy[member] = waiting.popleft()
                    member.hand(busy[member])
                yield task, result
    finally:
        for member in members:
            member.end()


def _serve(connection: Connection, work: Callable[[T], R]) -> None:
    """Does tasks until the master is gone."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            task = connection.recv()
            try:
                answer: tuple[R | None, object] = work(task), None
            except ValueError as error:
                answer = None, error
            except Exception:
                answer = None, traceback.format_exc()
            connection.send(answer)


@contextlib.contextmanager
def _inherited_by_workers() -> Iterator[None]:
    """Ctrl-C is the master's to act on, and notices on devices were seen before."""
    notices = os.environ.get(_NOTICES)
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault(_NOTICES, "2")
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if notices is None:
            del os.environ[_NOTICES]
