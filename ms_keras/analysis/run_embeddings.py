"""A run's test images, embedded by its tower before and after its training."""

from __future__ import annotations

import os
import pathlib

import tensorflow as tf
from absl import flags

from ms_keras import program
from ms_keras.data import flags as data_flags
from ms_keras.models import flags as model_flags
from ms_keras.models.runs import tower_of_run
from ms_keras.retrieval.embedding import embed
from ms_keras.retrieval.saved_arrays import SavedArrays

FLAGS = flags.FLAGS


def embeddings_of_run(
    run_dir: str | os.PathLike[str], checkpoint: str = "best"
) -> dict[str, SavedArrays]:
    """Embeds the test images of a run, finished or not.

    The tower before training is built anew from the run's flags: with the Keras of the
    run, the same seed gives the same weights. Flags on the command line win over the
    run's own.

    Args:
        run_dir: Folder of the run.
        checkpoint: The trained state to take, `"best"` or `"last"`. Defaults to
            `"best"`.

    Raises:
        ValueError: If the folder is not a run's, it has no such checkpoint, or its
            images cannot be read.
    """
    trained = tower_of_run(run_dir, checkpoint)
    path = pathlib.Path(run_dir) / "flags.cfg"
    program.adopt_flags(path)
    protocol = data_flags.protocol_from_flags()
    tf.keras.utils.set_random_seed(_seed(path))
    towers = {
        "before training": model_flags.tower_from_flags(),
        "after training": trained,
    }
    sizes = {
        "image_size": FLAGS.image_size,
        "short_side": model_flags.short_side_from_flags(),
        "unreadable": data_flags.unreadable_from_flags(),
    }
    queries = embed(towers, protocol.test, what="test images", **sizes)
    labels = protocol.test.labels[queries.indices]
    if protocol.gallery is None:
        return {name: SavedArrays(rows, labels) for name, rows in queries.rows.items()}
    gallery = embed(towers, protocol.gallery, what="gallery", **sizes)
    gallery_labels = protocol.gallery.labels[gallery.indices]
    return {
        name: SavedArrays(rows, labels, gallery.rows[name], gallery_labels)
        for name, rows in queries.rows.items()
    }


def _seed(path: pathlib.Path) -> int:
    """Reads the run's seed; it also seeds the training, whose flags are not here."""
    values = flags.FlagValues()
    flags.DEFINE_integer("seed", 0, "Seed of the run.", flag_values=values)
    flags.DEFINE_string("flagfile", "", "Where flags are read from.", values)
    values(["run", f"--flagfile={path}"], known_only=True)
    return values.seed
