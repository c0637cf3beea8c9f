"""Writes an exported tower as an ONNX file, and proves that onnxruntime agrees.

    python -m export.onnx --tower=models/birds/1 --out=birds.onnx

The file maps `images`, [batch, size, size, 3] float32 of 0-255, to `embeddings`,
[batch, dim] float32, for batches of any size. It appears complete or not at all, and
only if onnxruntime's embeddings of generated images are the SavedModel's up to 1e-4.
Needs tf2onnx and onnxruntime: pip install 'ms_keras[onnx]'.
"""

from __future__ import annotations

from absl import flags

from export.flags import check_given, define_conversion
from ms_keras import program
from ms_keras.serving.onnx_file import save_onnx

FLAGS = flags.FLAGS

define_conversion(".onnx")


def main() -> None:
    """Converts the tower that the flags name, and says where it is."""
    check_given("tower", "out")
    difference = save_onnx(FLAGS.tower, FLAGS.out)
    print(f"Within {difference:.1e} of the SavedModel's embeddings.")
    print(FLAGS.out)


if __name__ == "__main__":
    program.run(main)
