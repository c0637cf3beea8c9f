"""Scores a run, an exported tower, or saved embeddings by their Recall@K.

    python -m ms_keras.evaluate --run_dir=runs/quickstart --report=page
    python -m ms_keras.evaluate --saved_model=DIR --dataset=image_folder --data_dir=...
    python -m ms_keras.evaluate --embeddings=FILE.npz --search=scann

Images are scored beside their raw pixels, a run also beside its tower before training.
The table goes to stdout; --out keeps the scores as JSON, --picture draws retrievals,
--report writes a page to look through all of them.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from absl import flags

from ms_keras import program
from ms_keras.data import flags as data_flags
from ms_keras.models import flags as model_flags
from ms_keras.retrieval import flags as retrieval_flags
from ms_keras.retrieval.embedding import pixel_rows
from ms_keras.retrieval.page.write import PAGE, write_page
from ms_keras.retrieval.picture import retrievals_picture
from ms_keras.retrieval.report import (
    baselines_in,
    baselines_of,
    report_of,
    table,
    with_baselines,
    with_further_scores,
    with_scann,
    write_json,
)
from ms_keras.retrieval.saved_arrays import load_arrays
from ms_keras.retrieval.saved_tower import load_saved_tower
from ms_keras.retrieval.scores import score_arrays, score_protocol

FLAGS = flags.FLAGS
IMAGES = (data_flags, model_flags)  # rooms whose flags say which images, and how
ROOMS = (*IMAGES, retrieval_flags)
SOURCES = ("run_dir", "saved_model", "embeddings")
# Of these rooms' flags, those that scoring reads; the others are of training.
READ = ("ks", *data_flags.IMAGE_FLAGS, *model_flags.SCORING_FLAGS)

# The training program has a --run_dir too: whoever imports both gets either.
flags.DEFINE_string(
    "run_dir",
    "",
    "Folder of a finished run: its exported tower is scored on its test images.",
    allow_override=True,
)
flags.DEFINE_string(
    "saved_model",
    "",
    "Folder of an exported tower, or its .onnx or .tflite file (export.onnx, "
    "export.litert).",
)
flags.DEFINE_string(
    "embeddings",
    "",
    "An .npz file with the arrays embeddings and labels; or query_embeddings, "
    "query_labels, gallery_embeddings and gallery_labels. Or a folder of .npy files of "
    "these names, or .parquet with columns embedding, label and maybe split.",
)
flags.DEFINE_string("out", "", "File for the scores as JSON.")
flags.DEFINE_string("picture", "", "PNG file for queries with what they find.")


def main() -> int:
    """Scores what the flags name, and tells the result."""
    given = [name for name in SOURCES if FLAGS[name].value]
    if len(given) != 1:
        raise ValueError(
            "Name one thing to score, with --run_dir, --saved_model or --embeddings; "
            f"got {' and '.join('--' + name for name in given) or 'none of them'}."
        )
    refuse_unread_flags(given[0])
    retrieval_flags.check_flags()
    report = {"embeddings": of_arrays, "saved_model": of_tower, "run_dir": of_run}[
        given[0]
    ]()
    report["search"] = FLAGS.search
    if FLAGS.out:
        write_json(FLAGS.out, report)
    print(table(report))
    for looked_at in (FLAGS.picture, FLAGS.report and f"{FLAGS.report}/{PAGE}"):
        if looked_at:
            print(f"Look at {looked_at}")
    return 0


def refuse_unread_flags(source: str) -> None:
    """Raises ValueError for flags on the command line that would change nothing."""
    read = ("ks",) if source == "embeddings" else READ
    unread = [f"--{name}" for name in flags_of_images() if name not in read]
    if unread:
        raise ValueError(
            f"{', '.join(unread)} would change nothing: to score --{source}, of the "
            f"flags of images and towers only --{', --'.join(read)} are read. Drop "
            "the former."
        )


def of_arrays() -> dict[str, Any]:
    """Scores saved embeddings."""
    for name in ("picture", "report"):
        if FLAGS[name].value:
            raise ValueError(
                f"--{name} needs images, and --embeddings has none. Drop one "
                "of the two."
            )
    arrays, ks = load_arrays(FLAGS.embeddings), data_flags.ks_from_flags()
    if FLAGS.search == "scann":  # for galleries where exact search takes too long
        report = retrieval_flags.scores_by_scann(arrays, ks)
        kinds = FLAGS.metrics if FLAGS["metrics"].present else []
        return with_further_scores(report, arrays, kinds)
    return report_of(score_arrays(arrays, ks), arrays, FLAGS.metrics)


def of_run() -> dict[str, Any]:
    """Scores the exported tower of a run beside what the run measured before it.

    Flags on the command line win over the run's own. If they choose other images, the
    run's earlier scores say nothing about them and are left out.
    """
    run = pathlib.Path(FLAGS.run_dir)
    for needed in (run / "flags.cfg", run / "recall.json"):
        if not needed.is_file():
            raise ValueError(
                f"--run_dir={run} is not a finished run: {needed} is missing. "
                "Finish it with ms_keras.train."
            )
    same_images = not set(flags_of_images()) - {"ks"}
    program.adopt_flags(run / "flags.cfg")
    earlier = {}
    if same_images:
        scores = json.loads((run / "recall.json").read_text(encoding="utf-8"))
        earlier = baselines_in(scores)
    return of_tower(str(run / "saved_model" / "1"), earlier)


def of_tower(
    directory: str = "", baselines: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Scores an exported tower beside raw pixels, on the images that the flags name.

    Args:
        directory: The tower. Defaults to that of the flag.
        baselines: Earlier scores of the same images to report too. Defaults to none.
    """
    model, image_size = load_saved_tower(directory or FLAGS.saved_model)
    if FLAGS["image_size"].present and FLAGS.image_size != image_size:
        raise ValueError(
            f"--image_size={FLAGS.image_size}, but the tower takes images of "
            f"{image_size} pixels. Drop --image_size."
        )
    FLAGS["image_size"].value = image_size
    protocol = data_flags.protocol_from_flags()
    scored = score_protocol(
        {"trained": model, "pixels": pixel_rows},
        protocol,
        image_size=image_size,
        short_side=model_flags.short_side_from_flags(),
        unreadable=data_flags.unreadable_from_flags(),
    )
    if FLAGS.picture:
        retrievals_picture(FLAGS.picture, protocol, scored, "trained")
    arrays, exact = scored.arrays(protocol, "trained"), scored.scores["trained"]
    report = report_of(exact, arrays, FLAGS.metrics, protocol.test.class_names)
    report = with_baselines({"protocol": protocol.name, **report}, baselines or {})
    pixels = baselines_of({"pixels": scored.scores["pixels"]}, arrays.labels)
    report = with_baselines(report, pixels)
    by_scann: dict[str, Any] = {}
    if FLAGS.search == "scann":
        by_scann = retrieval_flags.scores_by_scann(
            arrays, protocol.ks, exact.num_skipped
        )
    if FLAGS.report:
        both = {**by_scann, **report}  # the page has the exact scores beside ScaNN's
        write_page(FLAGS.report, protocol, scored, both)
    return with_scann(report, by_scann) if by_scann else report


def flags_of_images() -> list[str]:
    """Returns the flags on the command line that images and towers have."""
    by_module = FLAGS.flags_by_module_dict()
    return [
        flag.name
        for room in IMAGES
        for flag in by_module[room.__name__]
        if flag.present
    ]


if __name__ == "__main__":
    program.run(main, ROOMS)
