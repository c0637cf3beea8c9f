"""Requests that no client of ours sends: each has its answer, and the server lives."""

import grpc
import numpy as np
import pytest
import tensorflow as tf
from serving_fixtures import DIM, encoded, own_server
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

GOOD = encoded(0)


@pytest.fixture(scope="module")
def predict(base):
    with own_server(base) as address:
        channel = grpc.insecure_channel(address.removeprefix("grpc://"))
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        def predict(values, signature="embed_bytes", name="image_bytes"):
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "birds"
            request.model_spec.signature_name = signature
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
            answer = stub.Predict(request, timeout=30)
            return {key: tf.make_ndarray(p) for key, p in answer.outputs.items()}

        yield predict
        channel.close()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (([1.0, 2.0],), "INVALID_ARGUMENT"),
        (([GOOD], "embed_bytes", "images"), "INVALID_ARGUMENT"),
        (([GOOD], "classify"), "FAILED_PRECONDITION"),
        (([GOOD, GOOD[:100]],), "INVALID_ARGUMENT"),
        (([b""],), "INVALID_ARGUMENT"),
    ],
)
def test_a_bad_request_is_refused_and_the_next_one_answered(predict, arguments, code):
    with pytest.raises(grpc.RpcError) as caught:
        predict(*arguments)
    assert caught.value.code().name == code
    assert predict([GOOD])["embeddings"].shape == (1, DIM)


def test_no_images_give_no_rows(predict):
    rows = predict(np.array([], dtype=object).astype("S"))["embeddings"]
    assert rows.shape == (0, DIM)


def test_ten_thousand_images_are_refused(predict):
    with pytest.raises(grpc.RpcError) as caught:
        predict([GOOD] * 10_000)
    assert caught.value.code().name == "INVALID_ARGUMENT"
    assert predict([GOOD])["embeddings"].shape == (1, DIM)
