"""Writes a folder to carry to a machine with a GPU.

    python -m benchmarks.gpu.kit --out=kit
    scp -r kit gpu: && ssh gpu python3 kit/run.py --out=kit/gpu.json
    python -m benchmarks.gpu.report --result=kit/gpu.json

The folder holds the loss with its gradient as TensorFlow hands it to XLA (HLO), for
each batch size and precision, and `run.py`, which needs no more than Python, NumPy, JAX
and PyTorch there. Where TensorFlow and this package are on that machine, `run.py`
measures them directly too.
"""

from __future__ import annotations

import json
import pathlib
import shutil
from typing import Any

from ms_keras import program  # before TensorFlow, whose notices it quietens

import tensorflow as tf  # isort: skip
from absl import flags
from tqdm import tqdm

from benchmarks.gpu.run import PRECISIONS
from ms_keras.losses import multi_similarity_loss
from ms_keras.serving.versions import complete_or_absent

FLAGS = flags.FLAGS

flags.DEFINE_list(
    "batches", ["80", "1024", "8192", "16384", "65536"], "Sizes.", allow_override=True
)
flags.DEFINE_integer("dim", 512, "Length of embeddings.", 1, allow_override=True)
flags.DEFINE_string("out", "", "Folder to make.", allow_override=True)


def hlo_of(batch: int, dim: int, precision: str, stage: str = "hlo_serialized") -> Any:
    """Returns loss and gradient as an HLO module.

    Args:
        batch: Rows.
        dim: Their length.
        precision: One of `PRECISIONS`. `"bf16"` rows are made float32 by the loss, and
            its products may be rounded as those of `"tf32"`.
        stage: TensorFlow's name of the form. Defaults to `"hlo_serialized"`, bytes;
            `"hlo"` is for reading.
    """
    # TensorFlow writes into every product whether its factors may be rounded.
    tf.config.experimental.enable_tensor_float_32_execution(precision != "fp32")
    kind = tf.bfloat16 if precision == "bf16" else tf.float32

    def step(labels: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(rows)
            loss = tf.reduce_mean(multi_similarity_loss(labels, rows))
        return loss, tape.gradient(loss, rows)

    function = tf.function(step, jit_compile=True, autograph=False)
    lowered = function.experimental_get_compiler_ir(
        tf.TensorSpec([batch], tf.int32), tf.TensorSpec([batch, dim], kind)
    )
    return lowered(stage=stage)


def main() -> int:
    """Writes the folder."""
    if not FLAGS.out:
        raise ValueError("--out is missing: name the folder to make.")
    if not all(size.isdecimal() and int(size) for size in FLAGS.batches):
        raise ValueError(f"--batches must be whole numbers; got {FLAGS.batches}.")
    sizes = [int(size) for size in FLAGS.batches]
    with complete_or_absent(pathlib.Path(FLAGS.out)) as folder:
        folder.mkdir()
        every = [(size, kind) for size in sizes for kind in PRECISIONS]
        for size, precision in tqdm(every, desc="export", unit="module"):
            module = hlo_of(size, FLAGS.dim, precision)
            (folder / f"loss_{size}_{precision}.hlo").write_bytes(module)
        about = {"batches": sizes, "dim": FLAGS.dim, "tensorflow": tf.__version__}
        (folder / "kit.json").write_text(json.dumps(about))
        shutil.copy(pathlib.Path(__file__).with_name("run.py"), folder)
    print(f"Carry {FLAGS.out} to the machine and run there: python3 run.py")
    return 0


if __name__ == "__main__":
    program.run(main)
