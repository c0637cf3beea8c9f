"""Requests that TF Serving runs before it announces a version."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from ms_keras.serving.signatures import inputs_of

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
_BATCHES = (1, 16)


def can_write_warmup() -> bool:
    """Whether the official messages of TF Serving are installed."""
    return importlib.util.find_spec("tensorflow_serving") is not None


def with_warmup(wanted: str) -> bool:
    """Whether to write warm-up requests; says so if they have to be left out.

    Args:
        wanted: `"yes"`, `"no"`, or `"auto"`: if it is possible.
    """
    if wanted == "auto" and not can_write_warmup():
        print(
            "No warm-up requests: pip install 'ms_keras[serving]' for them, or silence "
            "this with --warmup=no."
        )
        return False
    return wanted != "no"


def write_warmup(
    directory: Path,
    signatures: Mapping[str, tf.types.experimental.ConcreteFunction],
    model: str,
) -> None:
    """Writes a request of one image and of sixteen for each signature of a model.

    The first request of a shape is slow; these are made before anybody waits.

    Args:
        directory: Folder of the SavedModel.
        signatures: What it offers, by name.
        model: Name that the model is served by.

    Raises:
        ValueError: If tensorflow-serving-api is not installed.
    """
    if not can_write_warmup():
        raise ValueError(
            "Warm-up requests need the package tensorflow-serving-api, which is not "
            "installed: pip install 'ms_keras[serving]', or go on without them."
        )
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    path = directory / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, function in signatures.items():
            for batch in _BATCHES:
                request = predict_pb2.PredictRequest()
                request.model_spec.name = model
                request.model_spec.signature_name = name
                for key, spec in inputs_of(function).items():
                    tensor = tf.make_tensor_proto(_example(spec, batch))
                    request.inputs[key].CopyFrom(tensor)
                log = prediction_log_pb2.PredictLog(request=request)
                record = prediction_log_pb2.PredictionLog(predict_log=log)
                writer.write(record.SerializeToString())


def _example(spec: tf.TensorSpec, batch: int) -> np.ndarray:
    """Returns grey images, as pixels or as files."""
    if spec.dtype != tf.string:
        return np.full((batch, *spec.shape[1:]), 127, spec.dtype.as_numpy_dtype)
    grey = tf.io.encode_jpeg(np.full((64, 64, 3), 127, np.uint8)).numpy()
    return np.array([grey] * batch, object)
