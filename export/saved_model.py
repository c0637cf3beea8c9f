"""Writes a tower as the next version of a served model.

    python -m export.saved_model --run_dir=runs/quickstart --out=models/glyphs
    python -m export.saved_model --model=tower.keras --out=models/glyphs

makes `models/glyphs/1/`, at the next call `models/glyphs/2/`, the layout that TF
Serving watches. A version appears complete or not at all. It holds the preprocessing,
requests to warm up with, and a card of what it is: `assets/model_card.json`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import flags

from export.flags import define_warmup
from ms_keras import program
from ms_keras.data.image_header import MAX_PIXELS
from ms_keras.models.flags import MARGIN
from ms_keras.models.runs import CHECKPOINTS, short_side_of_run, tower_of_run
from ms_keras.serving import ServingOptions, save_serving_model
from ms_keras.serving.model_card import card_of_run
from ms_keras.serving.options import OUTPUTS
from ms_keras.serving.versions import check_base
from ms_keras.serving.warmup import with_warmup

FLAGS = flags.FLAGS

# The training program has these too: whoever imports both gets either.
flags.DEFINE_string("run_dir", "", "Folder of a run.", allow_override=True)
flags.DEFINE_integer(
    "short_side",
    0,
    "With --model: what short sides are resized to before the centre crop, in pixels. "
    "0 takes the image size * 256 / 227. A run knows its own.",
    lower_bound=0,
    allow_override=True,
)
flags.DEFINE_string("model", "", "Instead of a run: a tower saved as a .keras file.")
flags.DEFINE_string("out", "", "Folder of the model's versions.", allow_override=True)
flags.DEFINE_enum("checkpoint", "best", CHECKPOINTS, "Which state of the run to take.")
flags.DEFINE_integer(
    "dim",
    0,
    "Keep the first entries of an embedding only, scaled to norm 1 again. Costs recall "
    "unless the tower was trained for it. 0 keeps all.",
    lower_bound=0,
)
flags.DEFINE_enum(
    "output",
    "float32",
    OUTPUTS,
    "Type of the embeddings; int8 is 127 times the entries.",
)
flags.DEFINE_integer(
    "max_batch", 1024, "Most images of a request; more are refused.", lower_bound=1
)
flags.DEFINE_integer(
    "max_pixels", MAX_PIXELS, "Most pixels that an image may have.", lower_bound=1
)
define_warmup()


def main() -> None:
    """Exports the tower that the flags name and says where it is."""
    if not FLAGS.out:
        raise ValueError("--out is missing: name the folder of the model's versions.")
    if bool(FLAGS.run_dir) == bool(FLAGS.model):
        raise ValueError("Name one tower to export, with --run_dir or with --model.")
    options = ServingOptions(FLAGS.dim, FLAGS.output, FLAGS.max_batch, FLAGS.max_pixels)
    check_base(Path(FLAGS.out))
    warmup = with_warmup(FLAGS.warmup)
    tower, short_side, card = of_run() if FLAGS.run_dir else of_file()
    version = save_serving_model(
        tower,
        FLAGS.out,
        short_side=short_side,
        options=options,
        card=card,
        warmup=warmup,
        numbered=True,
    )
    print(version)


def of_run() -> tuple[tf.keras.Model, int, dict[str, Any]]:
    """Returns the tower of a run, its short side, and what the run tells of it."""
    tower = tower_of_run(FLAGS.run_dir, FLAGS.checkpoint)
    card = card_of_run(Path(FLAGS.run_dir), FLAGS.checkpoint)
    return tower, short_side_of_run(FLAGS.run_dir), card


def of_file() -> tuple[tf.keras.Model, int, dict[str, Any]]:
    """Returns the tower of a .keras file, its short side, and its name.

    Raises:
        ValueError: If there is no such file, or it holds no Keras model.
    """
    path = Path(FLAGS.model)
    if not path.is_file():
        raise ValueError(f"--model must be a .keras file; {path} is none.")
    try:
        tower = tf.keras.models.load_model(path, compile=False)
    except (OSError, TypeError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} does not load as a Keras model: {error}. Save the tower with "
            "tower.save('tower.keras')."
        ) from error
    side = tower.input_shape[1] if len(tower.input_shape) == 4 else 0
    return tower, FLAGS.short_side or round((side or 0) * MARGIN), {"file": path.name}


if __name__ == "__main__":
    program.run(main)
