"""One tower and one catalogue by every exit: how far the numbers are apart.

    python -m benchmarks.exits --network_weights=imagenet --out=exits.json

A tower and a catalogue of images are exported, and asked in Python, through
TensorFlow's C loader, by gRPC and by REST, the tower also as an ONNX file. What the
Keras model itself gives for the pixels that scoring decodes is the reference. Needs a
checkout with the extra `test`, and gcc; REST is KServe's model server, installed at
first.
"""

from __future__ import annotations

import contextlib
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ms_keras import program  # before TensorFlow, whose notices it quietens

import numpy as np  # isort: skip
import tensorflow as tf
from absl import flags

from benchmarks.generated_files import jpeg_files
from benchmarks.peers import PeerError, python_of
from ms_keras.data.images import decode_for_scoring
from ms_keras.models import build_tower
from ms_keras.retrieval.report import write_json
from ms_keras.retrieval.saved_tower import load_saved_tower
from ms_keras.serving import save_serving_model
from ms_keras.serving.catalogue import Catalogue
from ms_keras.serving.client import ModelSpec, connect
from ms_keras.serving.loaded_tower import load_tower
from ms_keras.serving.onnx_file import save_onnx
from ms_keras.serving.retrieval_model import (
    LookupOptions,
    RetrievalModel,
    save_retrieval_model,
)

_TESTS = pathlib.Path(__file__).parents[1] / "tests" / "serving"
sys.path += [str(_TESTS), str(_TESTS / "client")]

import c_program  # noqa: E402
from serving_fixtures import (  # noqa: E402
    KSERVE,
    PEERS,
    kserve_server,
    own_server,
    rows_of_pixels,
)

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "network", "mobilenet_v2_0.35", "Backbone of the tower.", allow_override=True
)
flags.DEFINE_integer("side", 160, "Side of its images.", 8, allow_override=True)
flags.DEFINE_string("network_weights", "none", "Weights of the backbone.")
flags.DEFINE_string("out", "", "File for the result as JSON.", allow_override=True)

_IMAGES, _DIM, _K = 24, 64, 5
_SAFE = "embed_bytes_safe"

Outputs = dict[str, np.ndarray]


class Ask(NamedTuple):
    """An exit that can be asked.

    Attributes:
        files: From a signature to what it gives for the photographs.
        pixels: From decoded images to their embeddings, by `serving_default`.
    """

    files: Callable[[str], Outputs]
    pixels: Callable[[np.ndarray], np.ndarray]


class Folders(NamedTuple):
    """What was exported, and what it was made for.

    Attributes:
        tower: Base folder of the tower's versions.
        catalogue: Base folder of the catalogue's versions.
        onnx: The tower as a file.
        files: The photographs.
    """

    tower: pathlib.Path
    catalogue: pathlib.Path
    onnx: pathlib.Path
    files: list[pathlib.Path]


def exported(folder: pathlib.Path, tower: tf.keras.Model) -> Folders:
    """Exports a tower and the catalogue of some photographs."""
    size = FLAGS.side
    files = [folder / f"{number:02d}.jpg" for number in range(_IMAGES)]
    for file, content in zip(files, jpeg_files(_IMAGES, 2 * size), strict=True):
        file.write_bytes(content)
    made = Folders(folder / "tower", folder / "catalogue", folder / "t.onnx", files)
    save_serving_model(tower, made.tower / "1", short_side=size)
    save_onnx(made.tower / "1", made.onnx)
    loaded = load_tower(made.tower / "1")
    rows, _ = loaded.embed([file.read_bytes() for file in files])
    catalogue = Catalogue([file.name for file in files], rows)
    model = RetrievalModel(loaded, catalogue, LookupOptions(_K))
    save_retrieval_model(model, made.catalogue / "1")
    return made


def expected(
    tower: tf.keras.Model, files: list[pathlib.Path]
) -> tuple[np.ndarray, Outputs]:
    """Returns the decoded pixels, and what has to come of them."""
    size = FLAGS.side
    images = tf.stack([decode_for_scoring(f.read_bytes(), size, size) for f in files])
    # Compiled, as everything else is.
    rows = tf.function(lambda x: tower(x, training=False))(images).numpy()
    order = np.argsort(-(rows @ rows.T), axis=1, kind="stable")[:, :_K]
    names = np.array([file.name for file in files], dtype=object)
    scores = np.take_along_axis(rows @ rows.T, order, axis=1)
    found = {"embeddings": rows, "ids": names[order], "scores": scores}
    return np.asarray(images, np.float32), found


def in_python(made: Folders) -> Iterator[Ask]:
    """Yields the SavedModels, loaded in this process."""
    models = [tf.saved_model.load(str(base / "1")) for base in made[:2]]
    contents = tf.constant([file.read_bytes() for file in made.files])

    def ask(signature: str) -> Outputs:
        model = models[signature.startswith("search")]
        outputs = model.signatures[signature](image_bytes=contents)
        return {name: _plain(value.numpy()) for name, value in outputs.items()}

    def ask_pixels(images: np.ndarray) -> np.ndarray:
        return load_saved_tower(made.tower / "1").model(tf.constant(images)).numpy()

    yield Ask(ask, ask_pixels)


def in_c(made: Folders) -> Iterator[Ask]:
    """Yields the C program, each question a process."""
    compiled = c_program.compiled(made.tower.parent)
    paths = list(map(str, made.files))

    def ask(signature: str) -> Outputs:
        version = _base(made, signature) / "1"
        return c_program.outputs_of(compiled, version, signature, "files", *paths)

    def ask_pixels(images: np.ndarray) -> np.ndarray:
        raw = made.tower.parent / "pixels"
        images.tofile(raw)
        return c_program.outputs_of(
            compiled, made.tower / "1", "serving_default", "pixels", FLAGS.side, raw
        )["embeddings"]

    yield Ask(ask, ask_pixels)


def by_client(
    made: Folders, serve: Callable[[pathlib.Path], Any], name: str
) -> Iterator[Ask]:
    """Yields a client of servers of both models."""
    contents = [file.read_bytes() for file in made.files]
    with contextlib.ExitStack() as servers:
        addresses = [servers.enter_context(serve(base)) for base in made[:2]]

        def ask(signature: str) -> Outputs:
            address = addresses[signature.startswith("search")]
            connection = connect(address, ModelSpec(name, signature), 60.0)
            try:
                return connection.predict(contents)
            finally:
                connection.close()

        yield Ask(ask, lambda images: rows_of_pixels(addresses[0], name, images))


def in_onnx(made: Folders) -> Iterator[Ask]:
    """Yields the file, which takes pixels only."""
    model = load_saved_tower(made.onnx).model
    yield Ask(lambda _: {}, lambda images: model(tf.constant(images)).numpy())


def differences(ask: Ask, images: np.ndarray, reference: Outputs) -> dict[str, float]:
    """Returns how far the outputs of each signature are from the reference.

    Raises:
        ValueError: If an exit finds other ids, or cannot read a photograph.
    """
    rows = ask.pixels(images)
    found = {"serving_default": float(np.abs(rows - reference["embeddings"]).max())}
    for signature in ("embed_bytes", _SAFE, "search_bytes"):
        outputs = ask.files(signature)
        if not outputs:
            continue
        name = "scores" if "search" in signature else "embeddings"
        found[signature] = float(np.abs(outputs[name] - reference[name]).max())
        if signature == _SAFE and not outputs["readable"].all():
            raise ValueError("A photograph was told to be unreadable.")
        if "ids" in outputs and not (outputs["ids"] == reference["ids"]).all():
            raise ValueError("Another order of the nearest was found.")
    return found


def measured(made: Folders, images: np.ndarray, reference: Outputs) -> dict[str, Any]:
    """Returns the differences of each exit."""
    exits: dict[str, Callable[[], Iterator[Ask]]] = {
        "SavedModel in Python": lambda: in_python(made),
        "C loader": lambda: in_c(made),
        "gRPC": lambda: by_client(made, own_server, "birds"),
        "REST (KServe)": lambda: by_client(
            made, lambda base: kserve_server(base / "1"), "birds"
        ),
        "ONNX": lambda: in_onnx(made),
    }
    found: dict[str, Any] = {}
    for name, start in exits.items():
        for ask in start():
            found[name] = differences(ask, images, reference)
        print(name, found[name])
    return found


def table(result: dict[str, Any]) -> str:
    """Returns the result as a Markdown table."""
    names = ("serving_default", "embed_bytes", _SAFE, "search_bytes")
    lines = [
        f"| TensorFlow {result['tensorflow']} | {' | '.join(names)} |",
        "| --- |" + " ---: |" * len(names),
    ]
    for exit_, found in result["exits"].items():
        cells = [f"{found[n]:.1e}" if n in found else "" for n in names]
        lines.append(f"| {exit_} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Exports, asks, and prints a table."""
    try:
        python_of(KSERVE, PEERS)
    except PeerError as error:
        raise ValueError(f"REST cannot be tried: {error}") from error
    weights = None if FLAGS.network_weights == "none" else FLAGS.network_weights
    tower = build_tower(FLAGS.network, _DIM, FLAGS.side, weights=weights)
    with tempfile.TemporaryDirectory() as folder:
        made = exported(pathlib.Path(folder), tower)
        images, reference = expected(tower, made.files)
        exits = measured(made, images, reference)
    result = {"tensorflow": tf.__version__, "exits": exits}
    print(table(result))
    if FLAGS.out:
        write_json(FLAGS.out, result)
    return 0


def _base(made: Folders, signature: str) -> pathlib.Path:
    return made.catalogue if signature.startswith("search") else made.tower


def _plain(values: np.ndarray) -> np.ndarray:
    if values.dtype != object:
        return values
    strings = [value.decode() for value in values.ravel()]
    return np.array(strings, dtype=object).reshape(values.shape)


if __name__ == "__main__":
    program.run(main)
