"""A served tower under load: right answers, latency and images/s.

    python -m benchmarks.serving --seconds=60 --clients=200 --out=serving.json

Serves a tower of random weights by gRPC, with requests joined as TF Serving's batching
does, and asks for one image at a time from many clients. Each answer is compared with
the row of its own image. The bare model, called in a loop on batches of decoded pixels
in this process, is measured before; it reads no files.
"""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from ms_keras import program  # before TensorFlow, whose notices it quietens

import numpy as np  # isort: skip
import tensorflow as tf
from absl import flags

from benchmarks.generated_files import jpeg_files
from ms_keras.models import build_tower
from ms_keras.retrieval.report import write_json
from ms_keras.serving import save_serving_model
from ms_keras.serving.client import ModelSpec, ServerError, connect

FLAGS = flags.FLAGS

flags.DEFINE_float("seconds", 60.0, "Seconds of each measurement.", lower_bound=0.1)
flags.DEFINE_integer("clients", 200, "Clients at a time.", lower_bound=1)
flags.DEFINE_string(
    "network", "small_conv", "Backbone of the tower.", allow_override=True
)
flags.DEFINE_integer("side", 32, "Side of its images.", 8, allow_override=True)
flags.DEFINE_string("out", "", "File for the result as JSON.", allow_override=True)

_IMAGES = 64
_DIM = 64
_SERVER = pathlib.Path(__file__).parents[1] / "tests/serving/client"
_TOLERANCE = 1e-4  # far below the distance of two images' rows


class Seen(NamedTuple):
    """What one client saw.

    Attributes:
        latencies: Seconds of each answered request.
        wrong: Answers that were not of the image sent.
        refused: What the server refused with.
    """

    latencies: list[float]
    wrong: list[int]
    refused: list[str]


def bare_rate(tower: tf.keras.Model) -> float:
    """Returns images/s of the model alone, in batches of 32."""
    call = tf.function(lambda images: tower(images, training=False))
    images = tf.zeros((32, FLAGS.side, FLAGS.side, 3))
    call(images)
    start = time.perf_counter()
    calls = 0
    while time.perf_counter() - start < FLAGS.seconds:
        call(images).numpy()
        calls += 1
    return 32 * calls / (time.perf_counter() - start)


@contextlib.contextmanager
def server(base: pathlib.Path) -> Iterator[str]:
    """Yields the address of a server of the folder, in a process of its own."""
    command = [sys.executable, str(_SERVER / "prediction_server.py")]
    command += [f"tower={base}", "--batching"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None  # for mypy: it is a pipe
        yield f"grpc://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait(20)


def expected_rows(base: pathlib.Path, files: list[bytes]) -> np.ndarray:
    """Returns the files' rows, one call each, and checks that they can be told apart.

    Raises:
        ValueError: If two images have rows so alike that an answer would fit both.
    """
    signature = tf.saved_model.load(str(base / "1")).signatures["embed_bytes"]
    rows = np.concatenate(
        [signature(image_bytes=tf.constant([file]))["embeddings"] for file in files]
    )
    apart = np.abs(rows[:, np.newaxis] - rows).max(axis=-1)
    np.fill_diagonal(apart, np.inf)
    if apart.min() < 2 * _TOLERANCE:
        raise ValueError(
            f"Two images' rows differ by {apart.min():.1e} only, so mixed-up answers "
            "would not be seen. Choose another --network."
        )
    return rows


def one_client(
    address: str, files: list[bytes], rows: np.ndarray, number: int, end: float
) -> Seen:
    """Asks for one image after another until a time, and returns what it saw."""
    seen = Seen([], [], [])
    connection = connect(address, ModelSpec("tower", "embed_bytes"))
    random = np.random.default_rng(number)
    while time.perf_counter() < end:
        chosen = int(random.integers(len(files)))
        start = time.perf_counter()
        try:
            row = connection.predict([files[chosen]])["embeddings"][0]
        except ServerError as error:
            seen.refused.append(str(error))
            continue
        seen.latencies.append(time.perf_counter() - start)
        if np.abs(row - rows[chosen]).max() > _TOLERANCE:
            seen.wrong.append(chosen)
    connection.close()
    return seen


def load(address: str, files: list[bytes], rows: np.ndarray) -> list[Seen]:
    """Returns what many clients saw, all at once."""
    seen: list[Seen] = []
    end = time.perf_counter() + FLAGS.seconds

    def client(number: int) -> None:
        seen.append(one_client(address, files, rows, number, end))

    threads = [
        threading.Thread(target=client, args=(number,))
        for number in range(FLAGS.clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def summary(seen: list[Seen], seconds: float, bare: float) -> dict[str, Any]:
    """Returns the measurements in one row."""
    latencies = [value for client in seen for value in client.latencies]
    return {
        "clients": FLAGS.clients,
        "clients_that_ended": len(seen),
        "answers": len(latencies),
        "wrong": sum(len(client.wrong) for client in seen),
        "refused": sum(len(client.refused) for client in seen),
        "p50_ms": _percentile_ms(latencies, 50),
        "p99_ms": _percentile_ms(latencies, 99),
        "served_images_per_second": len(latencies) / seconds,
        "bare_images_per_second": bare,
    }


def _percentile_ms(seconds: list[float], percent: float) -> float:
    return 1000 * float(np.percentile(seconds or [np.nan], percent))


def table(result: dict[str, Any]) -> str:
    """Returns the result as a Markdown table."""
    share = result["served_images_per_second"] / result["bare_images_per_second"]
    rows = {
        "clients at a time": f"{result['clients']}",
        "answers": f"{result['answers']:,}",
        "of another image, or refused": f"{result['wrong']}, {result['refused']}",
        "p50, p99": f"{result['p50_ms']:.0f} ms, {result['p99_ms']:.0f} ms",
        "images/s": f"{result['served_images_per_second']:.0f}",
        "images/s of the bare model": f"{result['bare_images_per_second']:.0f}",
        "share": f"{share:.2f}",
    }
    body = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "| --- | ---: |", *body])


def main() -> int:
    """Measures, prints a table, and fails if an answer was wrong or missing."""
    tower = build_tower(FLAGS.network, _DIM, FLAGS.side, weights=None)
    files = jpeg_files(_IMAGES, 2 * FLAGS.side)
    bare = bare_rate(tower)
    with tempfile.TemporaryDirectory() as folder:
        base = pathlib.Path(folder, "tower")
        save_serving_model(tower, base / "1", short_side=FLAGS.side)
        rows = expected_rows(base, files)
        with server(base) as address:
            one_client(address, files, rows, 0, time.perf_counter() + 1)  # warms up
            start = time.perf_counter()
            seen = load(address, files, rows)
            seconds = time.perf_counter() - start
    result = summary(seen, seconds, bare)
    print(table(result))
    if FLAGS.out:
        write_json(FLAGS.out, result)
    whole = len(seen) == FLAGS.clients and result["answers"] > 0
    return int(bool(result["wrong"] or result["refused"]) or not whole)


if __name__ == "__main__":
    program.run(main)
