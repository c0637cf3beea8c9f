"""Writes an exported tower as a LiteRT file for phones, and tells how near it is.

    python -m export.litert --tower=models/birds/1 --calibration=train --out=a.tflite

The file maps one image, `images`, [1, size, size, 3] float32 of 0-255, to `embeddings`,
[1, dim] float32; inside it computes with eight-bit integers, unless --quantize says
otherwise. What R@1 that costs, ms_keras.evaluate --saved_model=a.tflite tells.
"""

from __future__ import annotations

import os

from absl import flags

from export.flags import check_given, define_conversion
from ms_keras import program
from ms_keras.serving.litert_file import QUANTIZATIONS, save_litert

FLAGS = flags.FLAGS

define_conversion(".tflite")
flags.DEFINE_string(
    "calibration",
    "",
    "Folder of photographs like those the tower was trained on, at any depth, none of "
    "them a test image: 250 of them set the ranges of int8, and are compared on. "
    "Empty: compares on generated images.",
)
flags.DEFINE_enum(
    "quantize",
    "int8",
    QUANTIZATIONS,
    "int8: weights and maps of 8 bits, a quarter of the size; float16: weights of 16 "
    "bits, half the size; none: floats as they are.",
)


def main() -> None:
    """Converts the tower that the flags name, and says how near it is and where."""
    check_given("tower", "out")
    cosine = save_litert(
        FLAGS.tower,
        FLAGS.out,
        quantize=FLAGS.quantize,
        calibration=FLAGS.calibration or None,
    )
    megabytes = os.path.getsize(FLAGS.out) / 1e6
    print(f"{megabytes:.2f} MB; mean cosine with the SavedModel's: {cosine:.4f}.")
    print(FLAGS.out)


if __name__ == "__main__":
    program.run(main)
