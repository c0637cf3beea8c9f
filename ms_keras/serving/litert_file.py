"""A tower as a LiteRT file, for phones: floats, half floats, or eight-bit integers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ms_keras.data.image_files import EXTENSIONS, is_image, visible_files
from ms_keras.data.images import decode_for_scoring
from ms_keras.retrieval.saved_tower import SavedTower
from ms_keras.retrieval.tower_files import open_litert
from ms_keras.serving.single_file import (
    frozen,
    generated_images,
    load_source,
    new_file,
    silent,
    source_function,
    write_whole,
)

QUANTIZATIONS = ("int8", "float16", "none")
# Below these a file is broken rather than coarse.
_LEAST_COSINE = {"int8": 0.9, "float16": 0.999, "none": 0.99999}
# What a tower does after its last layer, and before its first. Products inside a
# network (squeeze and excite) stay floats too: ops are told apart by their kind alone.
_FLOAT_OPS = [
    *("MUL", "SUB", "ABS", "REDUCE_MAX", "NOT_EQUAL", "SELECT", "SELECT_V2", "DIV"),
    *("SQUARE", "SUM", "MAXIMUM", "RSQRT", "ZEROS_LIKE"),
]
_MOST_IMAGES = 250
_LEAST_IMAGES = 10
_TRY_EVERY = 5  # of the photographs, one in this many is kept to compare with


def save_litert(
    tower: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    quantize: str = "int8",
    calibration: str | os.PathLike[str] | None = None,
) -> float:
    """Converts an exported tower to LiteRT, and writes it if it works.

    The file takes one image at a time, `images` `[1, size, size, 3]` float32 of 0-255,
    and gives `embeddings` `[1, dim]` float32, however it computes inside: the app that
    cuts and resizes the photograph stays the same, and the embeddings can be searched
    in a gallery that the tower itself embedded.

    Args:
        tower: Folder of a SavedModel that `save_serving_model` made.
        path: The file to make, ending in `.tflite`. It appears when it is complete.
        quantize: `"int8"` for weights (a scale per channel) and maps of 8 bits, a
            quarter of the size; `"float16"` for weights of 16 bits, half the size; or
            `"none"`. Defaults to `"int8"`.
        calibration: Folder of photographs such as the tower will see, at any depth,
            none of them a test image: up to 250 of them, evenly spread, four in five
            to find the ranges of maps for `"int8"` and one in five to compare on.
            Defaults to generated images, which `"int8"` refuses.

    Returns:
        The mean cosine between the SavedModel's embeddings and the file's.

    Raises:
        ValueError: If there is no such SavedModel, the file exists, the photographs
            are missing, too few or unreadable, or the file does not run or gives
            embeddings that have nothing to do with the SavedModel's.
    """
    _check_quantize(quantize, calibration)
    target = new_file(path, ".tflite")
    source = load_source(tower)
    if calibration:
        images = _photographs(Path(calibration), source.served.image_size)
    else:
        images = generated_images(_LEAST_IMAGES, source.served.image_size)
    tried = np.arange(len(images)) % _TRY_EVERY == 0
    content = _converted(source.rows, quantize, images[~tried])
    cosine = _mean_cosine(content, source.served, images[tried], str(target))
    if not cosine >= _LEAST_COSINE[quantize]:  # nor NaN
        raise ValueError(
            f"The converted tower's embeddings have a mean cosine of {cosine:.4f} with "
            f"the SavedModel's; expected {_LEAST_COSINE[quantize]} at least. {target} "
            "was not written. Take a finer --quantize, or photographs for "
            "--calibration that are more like those the tower was trained on."
        )
    write_whole(target, content)
    return cosine


def _converted(source: SavedTower, quantize: str, images: np.ndarray) -> bytes:
    """Returns the tower in LiteRT's format."""
    function = _function_of_one(source)
    # Any module will do, but without one the file gets no names for its ends.
    with silent(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [function], tf.Module()
        )
        if quantize == "none":
            return converter.convert()
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
            return converter.convert()
        converter.representative_dataset = lambda: ([image[None]] for image in images)
        return _with_float_rows(converter)


def _with_float_rows(converter: Any) -> bytes:
    """Returns an integer model that scales pixels and divides by norms in floats.

    Left to the converter, most of these steps are integers too: unit rows came out with
    norms between 0.87 and 1.09, for calibration has not seen their largest entries, and
    R@1 on CUB was 0.8 points lower. As floats the steps take no time to speak of.
    """
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=_FLOAT_OPS)
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=converter.representative_dataset,
        debug_options=options,
    )
    return debugger.get_nondebug_quantized_model()


def _function_of_one(source: SavedTower) -> tf.types.experimental.ConcreteFunction:
    """Returns the tower for one image, its variables constants."""
    whole = frozen(source_function(source, batch=1))
    shape = (1, source.image_size, source.image_size, 3)
    return tf.function(
        lambda images: {"embeddings": whole(images)[0]}, autograph=False
    ).get_concrete_function(tf.TensorSpec(shape, tf.float32, name="images"))


def _mean_cosine(
    content: bytes, source: SavedTower, images: np.ndarray, name: str
) -> float:
    rows = open_litert(content, name).embed(images)
    expected = source.model(tf.constant(images)).numpy()
    dots = (rows * expected).sum(axis=1)
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(expected, axis=1)
    return float(np.mean(dots / norms))


def _photographs(folder: Path, size: int) -> np.ndarray:
    """Returns some of a folder's images as scoring sees them."""
    # Links are followed: a folder of links is how one picks classes of a data set.
    files = sorted(filter(is_image, visible_files(folder, follow_links=True)))
    if len(files) < _LEAST_IMAGES:
        raise ValueError(
            f"--calibration={folder} holds {len(files)} images "
            f"({', '.join(EXTENSIONS)}); expected {_LEAST_IMAGES} at least, better "
            "200, of the kind that the tower was trained on."
        )
    places = np.linspace(0, len(files) - 1, min(len(files), _MOST_IMAGES))
    decode = tf.function(
        lambda encoded: decode_for_scoring(encoded, size, size), autograph=False
    )
    return np.stack([_decoded(files[int(place)], decode) for place in places])


def _decoded(file: str, decode: Callable[[tf.Tensor], tf.Tensor]) -> np.ndarray:
    try:
        return decode(tf.io.read_file(file)).numpy()
    # The text of TensorFlow's error may quote bytes of the file, which are no UTF-8.
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        raise ValueError(
            f"cannot read {file}: missing, truncated or not an image. Mend or remove "
            "it."
        ) from error


def _check_quantize(quantize: str, calibration: Any) -> None:
    if quantize not in QUANTIZATIONS:
        raise ValueError(f"quantize must be one of {QUANTIZATIONS}; got {quantize!r}.")
    if quantize == "int8" and not calibration:
        raise ValueError(
            "int8 needs --calibration, a folder of photographs like those the tower "
            "was trained on, to find the range of every map. Or pass "
            "--quantize=float16, which needs none."
        )
