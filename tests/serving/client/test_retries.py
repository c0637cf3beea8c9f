"""Which refusals are asked again, how often, and after what waits."""

import threading

import pytest

from ms_keras.serving.client import Retries, ServerError


class Server:
    """Refuses a number of times, then answers."""

    def __init__(self, refusals, retried):
        self.asked = 0
        self._refusals, self._retried = refusals, retried

    def __call__(self):
        self.asked += 1
        if self.asked <= self._refusals:
            raise ServerError("CODE", "words", self._retried)
        return "rows"


def test_refusals_that_may_pass_are_asked_again_after_growing_waits():
    server, waits = Server(4, True), []
    assert Retries(5, 1.0, 3.0).call(server, waits.append) == "rows"
    assert server.asked == 5
    assert len(waits) == 4
    bounds = (1.0, 2.0, 3.0, 3.0)
    assert all(0 <= wait <= most for wait, most in zip(waits, bounds, strict=True))


def test_other_refusals_are_not_asked_again():
    server = Server(1, False)
    with pytest.raises(ServerError, match="CODE: words"):
        Retries().call(server, lambda seconds: pytest.fail("it waited"))
    assert server.asked == 1


def test_nobody_is_asked_again_when_the_wait_was_ended():
    server, stop = Server(9, True), threading.Event()
    stop.set()
    with pytest.raises(ServerError, match="CODE: words"):
        Retries(5, 60.0, 60.0).call(server, stop.wait)
    assert server.asked == 1


@pytest.mark.parametrize("count", [0, 3])
def test_the_last_refusal_is_told(count):
    server = Server(99, True)
    with pytest.raises(ServerError):
        Retries(count).call(server, lambda seconds: None)
    assert server.asked == count + 1
