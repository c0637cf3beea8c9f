"""Embeds or searches many images with a server, and writes what it gives.

    python -m export.client --server=grpc://localhost:8500 --model=birds \
        --signature=embed_bytes_safe --images=photographs --out=embeddings.npz
    python -m export.client --server=http://localhost:8501 --model=birds_catalogue \
        --version_label=stable --signature=search_bytes --urls=urls.txt \
        --out=neighbours.parquet

The file has a row per image, in order: names, and embeddings and readable, or ids and
scores. With embed_bytes_safe an image that cannot be read, by the server or here, has a
row of zeros and is not readable; otherwise it ends the program. The file appears
complete or not at all.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator

from ms_keras import program  # before TensorFlow, whose notices it quietens

from absl import flags  # isort: skip
from tqdm import tqdm

from ms_keras.serving.client import (
    SIGNATURES,
    ModelSpec,
    Retries,
    ServerError,
    connect,
)
from ms_keras.serving.client.batches import Answer, Plan, answers
from ms_keras.serving.client.sources import Source, images_of, urls_of
from ms_keras.serving.client.writers import new_output, write

FLAGS = flags.FLAGS

flags.DEFINE_string("server", "", "grpc://host:8500, http://host:8501 or https://.")
flags.DEFINE_string("model", "", "Name that the model is served under.")
flags.DEFINE_integer(
    "version", None, "Version of the model. Defaults to the latest.", lower_bound=0
)
flags.DEFINE_string("version_label", "", "Label of a version, such as stable.")
flags.DEFINE_enum("signature", "embed_bytes", list(SIGNATURES), "What to ask for.")
flags.DEFINE_multi_string(
    "images", [], "Folder of images, or an image; may be given more than once."
)
flags.DEFINE_string("urls", "", "Text file with the URL of an image in each line.")
flags.DEFINE_string("out", "", "File to make: .npz or .parquet.", allow_override=True)
flags.DEFINE_integer(
    "batch_size", 32, "Images in a request.", lower_bound=1, allow_override=True
)
flags.DEFINE_integer("concurrency", 8, "Requests at a time.", lower_bound=1)
flags.DEFINE_integer(
    "retries", 5, "Times to ask a busy server again, later and later.", lower_bound=0
)
flags.DEFINE_float(
    "deadline",
    30.0,
    "Seconds for one try of a request. Over HTTP, also the longest silence while it "
    "connects, sends, and waits for the answer to begin.",
    lower_bound=0.001,
)

REFUSED = 1


def sources_from_flags() -> list[Source]:
    """Returns the images that the flags name.

    Raises:
        ValueError: If there are none, or both folders and URLs.
    """
    if bool(FLAGS.images) == bool(FLAGS.urls):
        raise ValueError("Expected either --images or --urls.")
    return urls_of(FLAGS.urls) if FLAGS.urls else images_of(FLAGS.images)


def spec_from_flags() -> ModelSpec:
    """Returns what the flags ask for.

    Raises:
        ValueError: If they name a version twice.
    """
    if FLAGS.version is not None and FLAGS.version_label:
        raise ValueError("Expected --version or --version_label, not both.")
    return ModelSpec(
        FLAGS.model, FLAGS.signature, FLAGS.version, FLAGS.version_label or None
    )


def main() -> int:
    """Sends the images and writes the answers."""
    for name in ("server", "model", "out"):
        if not FLAGS[name].value:
            raise ValueError(f"--{name} is missing: {FLAGS[name].help}")
    target = new_output(FLAGS.out)
    sources = sources_from_flags()
    plan = Plan(
        FLAGS.batch_size,
        FLAGS.concurrency,
        skip_unread=FLAGS.signature == "embed_bytes_safe",
        retries=Retries(FLAGS.retries),
    )
    connection = connect(FLAGS.server, spec_from_flags(), FLAGS.deadline)
    try:
        # Closed before the connection, so that nothing is asked again meanwhile.
        with contextlib.closing(answers(connection, sources, plan)) as rows:
            count = write(target, _with_progress(rows, len(sources)))
    except ServerError as error:
        print(f"Error: {FLAGS.server} answered {error}", file=sys.stderr)
        return REFUSED
    finally:
        connection.close()
    print(f"{count} images: {target}")
    return 0


def _with_progress(rows: Iterable[Answer], total: int) -> Iterator[Answer]:
    with tqdm(total=total, unit="image") as bar:
        for answer in rows:
            yield answer
            bar.update(len(answer.names))


if __name__ == "__main__":
    program.run(main)
