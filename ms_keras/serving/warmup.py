"""Requests that TF Serving runs before it announces a version."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from ms_keras.serving.signatures import inputs_of

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
_LARGEST_BATCH = 16
_LARGEST_SIDE = 64  # of an encoded image, in pixels
_MISSING = (
    "Warm-up requests need the package tensorflow-serving-api, which is not installed: "
    "pip install 'ms_keras[serving]', or go on without them: --warmup=no."
)


def can_write_warmup() -> bool:
    """Whether the official messages of TF Serving are installed."""
    return importlib.util.find_spec("tensorflow_serving") is not None


def with_warmup(wanted: str) -> bool:
    """Whether to write warm-up requests; says so if they have to be left out.

    Args:
        wanted: `"yes"`, `"no"`, or `"auto"`: if it is possible.

    Raises:
        ValueError: If they are wanted and tensorflow-serving-api is not installed.
    """
    if wanted == "yes" and not can_write_warmup():
        raise ValueError(_MISSING)
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
    *,
    max_batch: int,
    max_pixels: int,
) -> None:
    """Writes a request of one image and of sixteen for each signature of a model.

    The first request of a shape is slow; these are made before anybody waits. The
    model answers each of them here first: a server drops a version that refuses one.

    Args:
        directory: Folder of the SavedModel.
        signatures: What it offers, by name.
        model: Name that the model is served by.
        max_batch: Most images that it takes; the larger request has no more.
        max_pixels: Most pixels of an encoded image that it takes.

    Raises:
        ValueError: If tensorflow-serving-api is not installed, or the model refuses a
            request.
    """
    if not can_write_warmup():
        raise ValueError(_MISSING)
    path = directory / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    side = min(_LARGEST_SIDE, math.isqrt(max_pixels))
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, function in signatures.items():
            for batch in sorted({1, min(_LARGEST_BATCH, max_batch)}):
                examples = {
                    key: _example(spec, batch, side)
                    for key, spec in inputs_of(function).items()
                }
                _check_answered(name, function, examples)
                writer.write(_record(model, name, examples))


def _example(spec: tf.TensorSpec, batch: int, side: int) -> np.ndarray:
    """Returns grey images, as pixels or as files."""
    if spec.dtype != tf.string:
        return np.full((batch, *spec.shape[1:]), 127, spec.dtype.as_numpy_dtype)
    grey = tf.io.encode_jpeg(np.full((side, side, 3), 127, np.uint8)).numpy()
    return np.array([grey] * batch, object)


def _check_answered(
    name: str,
    function: tf.types.experimental.ConcreteFunction,
    examples: Mapping[str, np.ndarray],
) -> None:
    try:
        outputs = function(**{k: tf.constant(v) for k, v in examples.items()})
    except tf.errors.OpError as error:
        raise ValueError(
            f"The model does not answer the warm-up request of its signature {name}, "
            f"but fails with {type(error).__name__}, which --verbosity=1 shows. Go on "
            "without such requests with --warmup=no."
        ) from error
    if not np.all(outputs.get("readable", True)):
        raise ValueError(
            f"The model's signature {name} cannot read the image of its own warm-up "
            "request. Raise --max_pixels, or go on without such requests: --warmup=no."
        )


def _record(model: str, signature: str, inputs: Mapping[str, np.ndarray]) -> bytes:
    """Returns a request as TF Serving's warm-up file has it."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    log = prediction_log_pb2.PredictLog(request=request)
    return prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString()
