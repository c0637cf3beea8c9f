"""Asks TF Serving by gRPC, with its own stubs."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ms_keras.serving.client.contract import RETRIED, ModelSpec, ServerError, checked

# As in TF Serving, where a request may be of any size.
_UNLIMITED = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]


class GrpcConnection:
    """A server of TensorFlow's PredictionService.

    All answers are of one version: a server may put another in the place of the latest,
    or of a label, at any time.

    Args:
        address: `host:port`.
        spec: What to ask for.
        deadline: Seconds that one request may take.

    Raises:
        ValueError: If the stubs are not installed.
    """

    def __init__(self, address: str, spec: ModelSpec, deadline: float) -> None:
        self._grpc = _required("grpc")
        self._messages = _required("tensorflow_serving.apis.predict_pb2")
        stubs = _required("tensorflow_serving.apis.prediction_service_pb2_grpc")
        self._channel = self._grpc.insecure_channel(address, options=_UNLIMITED)
        self._stub = stubs.PredictionServiceStub(self._channel)
        self._spec = spec
        self._deadline = deadline
        self._lock = threading.Lock()
        self._version: int | None = None  # that answered first

    def predict(self, image_bytes: Sequence[bytes]) -> dict[str, np.ndarray]:
        """Asks for one batch, once; see `Connection`."""
        request = self._request(image_bytes)
        try:
            answer = self._stub.Predict(request, timeout=self._deadline)
        except self._grpc.RpcError as error:
            code = error.code().name
            raise ServerError(code, error.details(), code in RETRIED) from error
        self._check_version(answer.model_spec)
        outputs = {name: _array(proto) for name, proto in answer.outputs.items()}
        return checked(outputs, self._spec, len(image_bytes))

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _check_version(self, model_spec: Any) -> None:
        if not model_spec.HasField("version"):
            return
        answered = model_spec.version.value
        with self._lock:
            if self._version is None:
                self._version = answered
        if answered != self._version:
            raise ServerError(
                "VERSION_CHANGED",
                f"{self._spec.model} answered as version {self._version} before, and "
                f"as version {answered} now; what they give cannot be compared. Ask "
                f"again for all, of one version: --version={answered}.",
                retried=False,
            )

    def _request(self, image_bytes: Sequence[bytes]) -> Any:
        request = self._messages.PredictRequest()
        request.model_spec.name = self._spec.model
        request.model_spec.signature_name = self._spec.signature
        if self._spec.version is not None:
            request.model_spec.version.value = self._spec.version
        elif self._spec.label:
            request.model_spec.version_label = self._spec.label
        tensor = tf.make_tensor_proto(list(image_bytes), tf.string, [len(image_bytes)])
        request.inputs["image_bytes"].CopyFrom(tensor)
        return request


def _array(proto: Any) -> np.ndarray:
    values = tf.make_ndarray(proto)
    if values.dtype != object:
        return values
    strings = [value.decode() for value in values.ravel()]
    return np.array(strings, dtype=object).reshape(values.shape)


def _required(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ValueError(
            f"A grpc:// server needs the package tensorflow-serving-api, which cannot "
            f"be imported here: {error}. Install it with: "
            "pip install 'ms_keras[serving]'. Or ask by http://."
        ) from error
