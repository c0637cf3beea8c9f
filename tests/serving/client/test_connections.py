"""A connection's rows are the SavedModel's, and refusals come as the server said."""

import contextlib
import http.server
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor

import grpc
import numpy as np
import prediction_server
import pytest
import tensorflow as tf
from serving_fixtures import DIM, SIZE, encoded, rows_of_pixels
from tensorflow_serving.apis import prediction_service_pb2_grpc

from ms_keras.serving.client import ModelSpec, ServerError, connect

CONTENTS = [encoded(0), encoded(1, "jpeg"), encoded(2)]


def ask(server, contents, signature="embed_bytes", **spec):
    connection = connect(server, ModelSpec("birds", signature, **spec))
    try:
        return connection.predict(contents)
    finally:
        connection.close()


def refusal(server, contents, **spec):
    with pytest.raises(ServerError) as caught:
        ask(server, contents, **spec)
    # It took no harm.
    assert ask(server, CONTENTS[:1])["embeddings"].shape == (1, DIM)
    return caught.value


def test_rows_are_those_of_the_saved_model(server, embed):
    rows = ask(server, CONTENTS)["embeddings"]
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, embed(CONTENTS), atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "version"), [({"version": 1}, 1), ({"label": "stable"}, 1), ({}, 2)]
)
def test_a_version_can_be_named(versioned, embed, spec, version):
    rows = ask(versioned, CONTENTS, **spec)["embeddings"]
    expected = embed(CONTENTS, version)
    assert rows.dtype == expected.dtype == ("int8" if version == 1 else "float32")
    np.testing.assert_allclose(rows, expected, atol=1 if version == 1 else 1e-5)


def test_what_cannot_be_read_is_told_in_its_row_alone(server, embed):
    contents = [CONTENTS[0], CONTENTS[1][:200], b"", CONTENTS[2]]
    answer = ask(server, contents, "embed_bytes_safe")
    np.testing.assert_array_equal(answer["readable"], [True, False, False, True])
    expected = np.zeros((4, DIM))
    expected[[0, 3]] = embed([CONTENTS[0], CONTENTS[2]])
    np.testing.assert_allclose(answer["embeddings"], expected, atol=1e-5)


def test_a_missing_version_is_told_and_not_retried(versioned):
    error = refusal(versioned, CONTENTS, version=9)
    assert error.code in ("NOT_FOUND", "HTTP 404")
    assert "birds" in error.message
    assert not error.retried


def test_a_truncated_image_is_refused_and_the_server_lives(server):
    error = refusal(server, [CONTENTS[0], CONTENTS[1][:200]])
    assert error.code in ("INVALID_ARGUMENT", "HTTP 400")
    assert not error.retried


def test_what_is_no_image_is_refused_and_the_server_lives(server):
    error = refusal(server, [b"<html>not found</html>"])
    assert error.code in ("INVALID_ARGUMENT", "HTTP 400")


def test_an_image_of_declared_gigapixels_is_refused(server):
    huge = bytearray(encoded(0))
    huge[16:24] = (60000).to_bytes(4, "big") * 2  # PNG's width and height
    error = refusal(server, [bytes(huge)])
    assert error.code in ("INVALID_ARGUMENT", "HTTP 400")


def test_a_model_without_the_signature_is_told(server):
    error = refusal(server, CONTENTS, signature="search_bytes")
    assert error.code in ("FAILED_PRECONDITION", "INVALID_ARGUMENT", "HTTP 400")
    assert "search_bytes" in error.message
    assert not error.retried


def test_a_version_that_changes_is_told(base):
    models = {"birds": {2: prediction_server.Version(base / "2", False)}}
    services = prediction_server.Services(models, {})
    with served(services) as address:
        connection = connect(address, ModelSpec("birds", "embed_bytes"))
        named = connect(address, ModelSpec("birds", "embed_bytes", version=2))
        connection.predict(CONTENTS)
        models["birds"][3] = models["birds"][2]
        with pytest.raises(
            ServerError, match=r"version 2 before.*--version=3"
        ) as caught:
            connection.predict(CONTENTS)
        assert caught.value.code == "VERSION_CHANGED"
        assert not caught.value.retried
        named.predict(CONTENTS)
        connection.close()
        named.close()


@contextlib.contextmanager
def served(services):
    """Yields the address of a server in this process."""
    server = grpc.server(ThreadPoolExecutor(4))
    add = prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server
    kind = prediction_service_pb2_grpc.PredictionServiceServicer
    add(prediction_server.complete(services, kind), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(None).wait(20)


class Trickling(http.server.BaseHTTPRequestHandler):
    """Answers with spaces for seconds, never silent for long, or breaks off."""

    breaks_off = False

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(200 * 8192))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            for _ in range(2 if Trickling.breaks_off else 200):
                self.wfile.write(b" " * 8192)
                time.sleep(0.05)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def trickling():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Trickling)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_the_deadline_is_for_the_whole_answer(trickling):
    connection = connect(trickling, ModelSpec("birds", "embed_bytes"), 0.4)
    began = time.monotonic()
    with pytest.raises(ServerError) as caught:
        connection.predict(CONTENTS)
    assert time.monotonic() - began < 5  # it would answer for ten seconds
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert caught.value.retried


def test_closing_ends_a_request_under_way(trickling):
    connection = connect(trickling, ModelSpec("birds", "embed_bytes"))
    threading.Timer(0.3, connection.close).start()
    began = time.monotonic()
    with pytest.raises(CancelledError):
        connection.predict(CONTENTS)
    assert time.monotonic() - began < 5


def test_an_answer_that_breaks_off_may_come_whole_the_next_time(trickling, monkeypatch):
    monkeypatch.setattr(Trickling, "breaks_off", True)
    connection = connect(trickling, ModelSpec("birds", "embed_bytes"))
    with pytest.raises(ServerError) as caught:
        connection.predict(CONTENTS)
    assert caught.value.code == "UNAVAILABLE"
    assert caught.value.retried


def test_pixels_embed_as_in_the_saved_model(server, base):
    images = np.random.default_rng(0).uniform(0, 255, (3, SIZE, SIZE, 3)).astype("f4")
    signature = tf.saved_model.load(str(base / "2")).signatures["serving_default"]
    expected = signature(images=tf.constant(images))["embeddings"].numpy()
    rows = rows_of_pixels(server, "birds", images)
    np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_nobody_at_the_address_may_pass():
    for scheme in ("grpc", "http"):
        spec = ModelSpec("birds", "embed_bytes")
        connection = connect(f"{scheme}://127.0.0.1:9", spec, 2.0)
        with pytest.raises(ServerError) as caught:
            connection.predict(CONTENTS)
        assert caught.value.code == "UNAVAILABLE"
        assert caught.value.retried


@pytest.mark.parametrize("server", ["localhost:8500", "ftp://a", "grpc://", ""])
def test_other_addresses_are_refused(server):
    with pytest.raises(ValueError, match=r"grpc://localhost:8500 or http"):
        connect(server, ModelSpec("birds", "embed_bytes"))
