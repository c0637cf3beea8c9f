"""How images are batched, asked for at once, and let go of after an error."""

import threading
import time

import numpy as np
import pytest

from ms_keras.serving.client import Retries, ServerError, batches
from ms_keras.serving.client.batches import Plan, answers
from ms_keras.serving.client.sources import Source


@pytest.fixture
def images(tmp_path):
    """From sizes in bytes to images of so many."""

    def images(*sizes):
        sources = []
        for number, size in enumerate(sizes):
            path = tmp_path / f"{number:02d}"
            path.write_bytes(bytes([number]) * size)
            sources.append(Source(path.name, str(path)))
        return sources

    return images


@pytest.fixture
def ended_soon():
    """Waits for threads begun in the test: a program waits for them at its end too."""
    before = set(threading.enumerate())  # of other tests' servers, too

    def ended_soon():
        end = time.monotonic() + 10
        while set(threading.enumerate()) - before:
            assert time.monotonic() < end, "threads are still there"
            time.sleep(0.05)

    return ended_soon


class Server:
    """Gives each image its first byte, and remembers what it was asked."""

    def __init__(self):
        self.sizes = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def predict(self, contents):
        with self._lock:
            self.sizes.append([len(content) for content in contents])
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(0.05)
        with self._lock:
            self.at_once -= 1
        return {"embeddings": np.array([[content[0]] for content in contents])}

    def close(self):
        pass


def test_more_batches_than_may_be_asked_at_once_come_in_order(images):
    server = Server()
    sources = images(*[1] * 50)
    found = list(answers(server, sources, Plan(batch_size=4, concurrency=3)))
    assert [len(answer.names) for answer in found] == [4] * 12 + [2]
    names = [name for answer in found for name in answer.names]
    assert names == [source.name for source in sources]
    rows = np.concatenate([answer.outputs["embeddings"] for answer in found])
    assert rows[:, 0].tolist() == list(range(50))
    assert server.most_at_once == 3


def test_a_request_has_so_many_bytes_and_a_larger_image_goes_alone(images, monkeypatch):
    assert batches._BATCH_BYTES == 16 * 2**20
    monkeypatch.setattr(batches, "_BATCH_BYTES", 100)
    server = Server()
    sources = images(60, 40, 1, 99, 1, 150, 30, 30)
    found = list(answers(server, sources, Plan(batch_size=8, concurrency=1)))
    assert server.sizes == [[60, 40], [1, 99], [1], [150], [30, 30]]
    assert sum(len(answer.names) for answer in found) == 8


def test_an_answer_is_given_as_soon_as_it_is_there(images):
    class Slow(Server):
        def predict(self, contents):
            if contents[0][0] > 1:
                assert first_is_out.wait(20)
            return super().predict(contents)

    first_is_out = threading.Event()
    rows = answers(Slow(), images(*[1] * 4), Plan(batch_size=1, concurrency=2))
    assert next(rows).names == ["00"]
    first_is_out.set()
    assert [answer.names[0] for answer in rows] == ["01", "02", "03"]


def test_after_an_error_nobody_is_asked_again(images, ended_soon):
    class Refusing(Server):
        def predict(self, contents):
            super().predict(contents)
            busy = contents[0][0] > 0  # the first is refused for good
            raise ServerError("UNAVAILABLE" if busy else "NOT_FOUND", "words", busy)

    server = Refusing()
    plan = Plan(batch_size=1, concurrency=4, retries=Retries(9, 600.0, 600.0))
    with pytest.raises(ServerError, match=r"NOT_FOUND: words \(images: 00\)"):
        list(answers(server, images(*[1] * 20), plan))
    asked = len(server.sizes)
    ended_soon()
    assert len(server.sizes) <= asked + 4


def test_when_it_is_closed_its_threads_end(images, ended_soon):
    plan = Plan(batch_size=1, concurrency=4, retries=Retries(9, 600.0, 600.0))

    class Busy(Server):
        def predict(self, contents):
            if contents[0][0]:
                raise ServerError("UNAVAILABLE", "busy", True)
            return super().predict(contents)

    rows = answers(Busy(), images(*[1] * 20), plan)
    next(rows)
    rows.close()
    ended_soon()
