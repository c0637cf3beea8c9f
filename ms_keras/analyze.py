"""Draws what pair losses weigh, and what training does to the pairs of embeddings.

    python -m ms_keras.analyze --out_dir=DIR
    python -m ms_keras.analyze --out_dir=DIR --run_dir=runs/quickstart
    python -m ms_keras.analyze --out_dir=DIR --embeddings=FILE.npz --before=FILE.npz

The first draws, for each loss, the weight of a pair against its similarity, and its
weight while only one of the pair's three similarities moves; which of them each loss
looks at is computed, and told beside the paper's Table 1. The others draw the pairs of
a run's test images, or of saved embeddings: their similarities, and how many pairs,
with which weights, the loss keeps in batches like those of training. Each picture is
left as PNG and SVG, its numbers as CSV.
"""

from __future__ import annotations

import pathlib

from absl import flags
from matplotlib.figure import Figure

from ms_keras import program
from ms_keras.analysis import embedding_pairs as pairs
from ms_keras.analysis import embedding_pictures, loss_pictures
from ms_keras.analysis import reactions as reacting
from ms_keras.analysis import similarity_table as tables
from ms_keras.analysis import weight_curves as curving
from ms_keras.analysis.chosen_losses import named_losses, own_loss
from ms_keras.analysis.files import write_csv, write_picture
from ms_keras.analysis.labelled_rows import (
    batches,
    check_same_images,
    checked_rows,
    sample_by_class,
)
from ms_keras.analysis.run_embeddings import embeddings_of_run
from ms_keras.data import flags as data_flags
from ms_keras.losses import LOSSES, PairLoss
from ms_keras.losses import flags as loss_flags
from ms_keras.models import flags as model_flags
from ms_keras.models.runs import CHECKPOINTS
from ms_keras.retrieval.saved_arrays import SavedArrays, load_arrays

FLAGS = flags.FLAGS
ROOMS = (data_flags, model_flags, loss_flags)

# Other programs have some of these flags too: whoever imports both gets either.
flags.DEFINE_string(
    "out_dir",
    "",
    "Folder for the pictures and their numbers.",
    allow_override=True,
)
flags.DEFINE_list(
    "losses",
    [],
    "Names of losses, with their default settings; all of them if there are no "
    "embeddings. Of embeddings the pairs are kept by these and by the loss of the run, "
    "or what --loss describes.",
)
flags.DEFINE_string(
    "run_dir",
    "",
    "Folder of a run: its test images are embedded before and after its training.",
    allow_override=True,
)
flags.DEFINE_enum(
    "checkpoint",
    "best",
    CHECKPOINTS,
    "Which state of the run to take.",
    allow_override=True,
)
flags.DEFINE_string(
    "embeddings",
    "",
    "An .npz file with the arrays embeddings and labels; or query_embeddings, "
    "query_labels, gallery_embeddings and gallery_labels.",
    allow_override=True,
)
flags.DEFINE_string("before", "", "The same for these images before training.")
flags.DEFINE_integer(
    "sample", 2000, "Images, of whole classes, that similarities are counted of.", 2
)
flags.DEFINE_integer("batches", 20, "P x K batches that pairs are kept in.", 1)


def main() -> int:
    """Draws what the flags ask for."""
    folder = out_dir()
    named = named_losses(FLAGS.losses)
    if FLAGS.run_dir and FLAGS.embeddings:
        raise ValueError("Name --run_dir or --embeddings, not both.")
    if FLAGS.before and not FLAGS.embeddings:
        raise ValueError("--before goes with --embeddings, those after training.")
    if FLAGS.run_dir:
        draw_embeddings(
            folder, named, embeddings_of_run(FLAGS.run_dir, FLAGS.checkpoint)
        )
    elif FLAGS.embeddings:
        draw_embeddings(folder, named, saved_embeddings())
    else:
        draw_losses(folder, named or named_losses(LOSSES))
    return 0


def out_dir() -> pathlib.Path:
    """Returns the folder of the results."""
    if not FLAGS.out_dir:
        raise ValueError("--out_dir is missing: say where the pictures go.")
    folder = pathlib.Path(FLAGS.out_dir)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out_dir must be a folder; {folder} is a file.")
    return folder


def draw_losses(folder: pathlib.Path, chosen: dict[str, PairLoss]) -> None:
    """Draws what losses do, without data, and tells which similarities they look at."""
    curves = {name: curving.weight_curve(loss) for name, loss in chosen.items()}
    keep(
        folder / "weight_curves",
        loss_pictures.curves_picture(curves),
        (curving.HEADER, curving.curve_rows(curves)),
    )
    found = {name: reacting.reaction(loss) for name, loss in chosen.items()}
    keep(
        folder / "reactions",
        loss_pictures.reactions_picture(found),
        (reacting.HEADER, reacting.reaction_rows(found)),
    )
    table = tables.similarity_table(chosen)
    keep(
        folder / "similarity_table",
        loss_pictures.table_picture(table),
        (tables.HEADER, tables.table_rows(table)),
    )
    print(tables.table_text(table))


def draw_embeddings(
    folder: pathlib.Path, named: dict[str, PairLoss], states: dict[str, SavedArrays]
) -> None:
    """Draws the pairs of embeddings, of one state or of before and after training."""
    chosen = {**named, **own_loss(named)}
    states = {state: checked_rows(arrays, state) for state, arrays in states.items()}
    if len(states) == 2:
        check_same_images(*states.values())
    drawn = {
        state: batches(
            arrays, FLAGS.classes_per_batch, FLAGS.images_per_class, FLAGS.batches
        )
        for state, arrays in states.items()
    }
    counts = {
        state: pairs.similarity_counts(sample_by_class(arrays, FLAGS.sample))
        for state, arrays in states.items()
    }
    keep(
        folder / "similarities",
        embedding_pictures.similarities_picture(counts),
        (pairs.SIMILARITIES_HEADER, pairs.similarity_rows(counts)),
    )
    for name, loss in chosen.items():
        found = {state: pairs.anchor_pairs(loss, some) for state, some in drawn.items()}
        keep(
            folder / f"pairs_{name}",
            embedding_pictures.pairs_picture(found),
            (pairs.ANCHORS_HEADER, pairs.anchor_rows(found)),
        )
        print(pairs.told(found))


def saved_embeddings() -> dict[str, SavedArrays]:
    """Returns the embeddings that the flags name, before and after training."""
    after = load_arrays(FLAGS.embeddings)
    if not FLAGS.before:
        return {"embeddings": after}
    return {"before training": load_arrays(FLAGS.before), "after training": after}


def keep(
    stem: pathlib.Path, figure: Figure, numbers: tuple[tuple[str, ...], list[tuple]]
) -> None:
    """Writes a picture with its numbers, and says so."""
    write_csv(stem.with_name(stem.name + ".csv"), *numbers)
    write_picture(stem, figure)
    print(f"{stem}.png, .svg, .csv", flush=True)


if __name__ == "__main__":
    program.run(main, ROOMS)
