"""A connection's rows are the SavedModel's, and refusals come as the server said."""

import numpy as np
import pytest
from serving_fixtures import DIM, encoded

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
