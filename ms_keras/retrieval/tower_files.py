"""Towers in a single file, ONNX or LiteRT, as functions over NumPy arrays."""

from __future__ import annotations

import importlib
import os
import struct
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow.lite.tools import flatbuffer_utils

_MOST_INTERPRETERS = 8  # each holds the weights


class TowerFile(NamedTuple):
    """A tower that NumPy arrays go into and come out of.

    Attributes:
        embed: From `[batch, image_size, image_size, 3]` float32 images in 0-255 to
            `[batch, dim]` float32 embeddings. One call at a time.
        image_size: Height and width of the images, in pixels.
        dim: Length of an embedding.
    """

    embed: Callable[[np.ndarray], np.ndarray]
    image_size: int
    dim: int


def open_onnx(content: bytes, name: str) -> TowerFile:
    """Opens a tower in ONNX, with onnxruntime on the CPU.

    Args:
        content: The file's bytes.
        name: What errors call it.

    Raises:
        ValueError: If onnxruntime is missing, or cannot run the file, or it takes or
            gives something else.
    """
    runtime = _import_onnxruntime()
    try:
        session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors have no base of their own
        raise ValueError(
            f"{name} is no model that onnxruntime {runtime.__version__} can run: "
            f"{error} Export it again."
        ) from error
    takes, gives = session.get_inputs(), session.get_outputs()
    size, dim = _sizes(
        name,
        [(put.shape, put.type) for put in takes],
        [(put.shape, put.type) for put in gives],
        "tensor(float)",
    )

    def embed(images: np.ndarray) -> np.ndarray:
        return session.run([gives[0].name], {takes[0].name: images})[0]

    return TowerFile(embed, size, dim)


def open_litert(content: bytes, name: str) -> TowerFile:
    """Opens a tower in LiteRT's format, `.tflite`, with TensorFlow's interpreter.

    Images go through it one by one, as on a phone, but on all cores at once.

    Args:
        content: The file's bytes.
        name: What errors call it.

    Raises:
        ValueError: If the interpreter cannot run the file, or it takes or gives
            something else.
    """
    _check_whole(content, name)
    # One each with a thread of its own: the threads of a single interpreter wait for
    # each other at every layer, on a busy machine many times longer than they compute.
    count = min(os.cpu_count() or 1, _MOST_INTERPRETERS)
    interpreters = [_interpreter(content, name) for _ in range(count)]
    takes = interpreters[0].get_input_details()
    gives = interpreters[0].get_output_details()
    size, dim = _sizes(
        name,
        [(put["shape_signature"].tolist(), put["dtype"]) for put in takes],
        [(put["shape_signature"].tolist(), put["dtype"]) for put in gives],
        np.float32,
    )

    def embed_some(interpreter: Any, images: np.ndarray) -> np.ndarray:
        rows: np.ndarray = np.empty((len(images), dim), np.float32)
        for row, image in zip(rows, images, strict=True):
            interpreter.set_tensor(takes[0]["index"], image[np.newaxis])
            interpreter.invoke()
            row[:] = interpreter.get_tensor(gives[0]["index"])[0]
        return rows

    def embed(images: np.ndarray) -> np.ndarray:
        parts = np.array_split(images, count)
        with ThreadPoolExecutor(count) as pool:
            return np.concatenate(list(pool.map(embed_some, interpreters, parts)))

    return TowerFile(embed, size, dim)


def _import_onnxruntime() -> Any:
    # Here and not above: only those who have ONNX files need the package.
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ValueError(
            f"ONNX files need the package onnxruntime, which cannot be imported here: "
            f"{error}. Install it with: pip install 'ms_keras[onnx]'."
        ) from error


def _check_whole(content: bytes, name: str) -> None:
    """Raises ValueError if parts of a LiteRT file are missing.

    The interpreter trusts a file, and a cut one ends the process. So we walk through
    all of it first; the walk stumbles over what is missing.
    """
    try:
        flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    except (ValueError, TypeError, IndexError, struct.error) as error:
        raise ValueError(_not_litert(name, error)) from error


def _interpreter(content: bytes, name: str) -> Any:
    try:
        with warnings.catch_warnings():
            # It tells of a package to come, which the TensorFlow we ask for precedes.
            warnings.simplefilter("ignore", UserWarning)
            interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ValueError(_not_litert(name, error)) from error
    return interpreter


def _not_litert(name: str, error: Exception) -> str:
    return f"{name} is no model that LiteRT can run: {error} Export it again."


def _sizes(
    name: str,
    takes: Sequence[tuple[list[Any], Any]],
    gives: Sequence[tuple[list[Any], Any]],
    float32: Any,
) -> tuple[int, int]:
    """Returns image size and dimension, of pairs of shape and type.

    A size that is open is a name, None, or -1.
    """
    if len(takes) == 1 and len(gives) == 1:
        (shape, kind), (rows, rows_kind) = takes[0], gives[0]
        if kind == rows_kind == float32 and len(shape) == 4 and len(rows) == 2:
            _, height, width, channels = shape
            fixed = all(isinstance(s, int) and s > 0 for s in (height, rows[1]))
            any_batch = all(
                not isinstance(s[0], int) or s[0] < 2 for s in (shape, rows)
            )
            if fixed and any_batch and height == width and channels == 3:
                return height, rows[1]
    raise ValueError(
        f"{name}: expected a tower from images [batch, size, size, 3] float32, with a "
        "size and a batch of 1 or any, to embeddings [batch, dim] float32; got "
        f"{_told(takes)} to {_told(gives)}. Export it with export.onnx or "
        "export.litert."
    )


def _told(puts: Sequence[tuple[list[Any], Any]]) -> str:
    return ", ".join(
        f"{shape} {getattr(kind, '__name__', kind)}" for shape, kind in puts
    )
