"""A tower that is exported once, and the servers that serve it."""

import contextlib
import io
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from kserve_peer import KSERVE
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from benchmarks.peers import is_installed, python_of
from ms_keras.models import build_tower
from ms_keras.serving import save_serving_model
from ms_keras.serving.options import ServingOptions
from ms_keras.serving.versions import complete_or_absent

FOLDER = pathlib.Path(__file__).parent
SIZE, SHORT_SIDE, DIM = 32, 36, 8
PEERS = FOLDER.parents[2] / ".venv-peers"
SERVERS = ("own gRPC", "KServe", "TF Serving gRPC", "TF Serving REST", "elsewhere")


def encoded(seed, kind="png", size=(40, 44)):
    """Returns an image file of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A served model's folder with two versions that differ, one of integers."""
    base = tmp_path_factory.mktemp("models") / "birds"
    for version in (1, 2):
        # The same each time: a server elsewhere may have them since the last run.
        tf.keras.utils.set_random_seed(version)
        tower = build_tower("small_conv", DIM, SIZE, weights=None)
        options = ServingOptions(output="int8" if version == 1 else "float32")
        folder = base / str(version)
        save_serving_model(tower, folder, short_side=SHORT_SIDE, options=options)
    return base


@pytest.fixture(scope="session")
def embed(base):
    """From contents of files and a version to rows, by the SavedModel in process."""
    models = {n: tf.saved_model.load(str(base / str(n))) for n in (1, 2)}

    def embed(contents, version=2):
        signature = models[version].signatures["embed_bytes"]
        return signature(image_bytes=tf.constant(contents))["embeddings"].numpy()

    return embed


@contextlib.contextmanager
def process(command):
    """Runs a server and yields its first line; ends it by its own handle."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield server
    finally:
        server.terminate()
        server.wait(20)


@contextlib.contextmanager
def own_server(base, *options):
    script = str(FOLDER / "prediction_server.py")
    command = [sys.executable, script, f"birds={base}", "--label", "stable=1"]
    with process([*command, *options]) as server:
        yield f"grpc://127.0.0.1:{int(server.stdout.readline())}"


@contextlib.contextmanager
def tensorflow_model_server(base):
    """Yields gRPC's and REST's addresses of the real one."""
    program = shutil.which("tensorflow_model_server")
    if not program:
        pytest.skip("tensorflow_model_server is not on the PATH")
    grpc_port, rest_port = free_port(), free_port()
    config = base.parent / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "birds" base_path: "{base}" '
        'model_platform: "tensorflow" model_version_policy { all {} } '
        'version_labels { key: "stable" value: 1 } } }'
    )
    command = [program, f"--port={grpc_port}", f"--rest_api_port={rest_port}"]
    command += [f"--model_config_file={config}"]
    command += ["--allow_version_labels_for_unavailable_models=true"]
    with process(command):
        rest = f"http://127.0.0.1:{rest_port}"
        wait_for(f"{rest}/v1/models/birds")
        yield f"grpc://127.0.0.1:{grpc_port}", rest


@contextlib.contextmanager
def kserve_server(folder):
    """Yields the address of KServe's model server, which knows no versions."""
    if not is_installed(KSERVE, PEERS):
        pytest.skip("no KServe; python tests/serving/client/kserve_peer.py installs it")
    port = free_port()
    script = str(FOLDER / "kserve_server.py")
    command = [python_of(KSERVE, PEERS), script, "birds", folder, str(port)]
    with process(list(map(str, command))):
        wait_for(f"http://127.0.0.1:{port}/v1/models/birds")
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def served_elsewhere(base):
    """Yields the address of a server that somebody started, given its models."""
    address = os.environ.get("MS_KERAS_TF_SERVING")
    folder = os.environ.get("MS_KERAS_TF_SERVING_MODELS")
    if not address or not folder:
        pytest.skip("MS_KERAS_TF_SERVING and MS_KERAS_TF_SERVING_MODELS are not set")
    for version in ("1", "2"):
        target = pathlib.Path(folder, "birds", version)
        if not target.exists():
            with complete_or_absent(target) as unfinished:
                shutil.copytree(base / version, unfinished, dirs_exist_ok=True)
    yield address if "://" in address else f"grpc://{address}"


def rows_of_pixels(address, model, images):
    """Asks a server for embeddings of pixels, as the client of files does not."""
    scheme, _, host = address.partition("://")
    if scheme == "grpc":
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model  # serving_default is what goes without saying
        request.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
        options = [("grpc.max_receive_message_length", -1)]
        with grpc.insecure_channel(host, options=options) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            answer = stub.Predict(request, timeout=60)
        return tf.make_ndarray(answer.outputs["embeddings"])
    instances = [{"images": image.tolist()} for image in images]
    answer = requests.post(
        f"{address}/v1/models/{model}:predict",
        json={"instances": instances},
        timeout=120,
    )
    assert answer.ok, answer.text
    return np.array(answer.json()["predictions"], np.float32)


def wait_for(url):
    for _ in range(120):
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(url, timeout=5).ok:
                return
        time.sleep(0.5)
    raise TimeoutError(f"nobody answers at {url}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session", params=SERVERS)
def server(request, base):
    """Address of a server of `base` as "birds", its version 1 "stable"."""
    kind = request.param
    if kind == "own gRPC":
        context = own_server(base)
    elif kind == "KServe":
        context = kserve_server(base / "2")
    elif kind == "elsewhere":
        context = served_elsewhere(base)
    else:
        context = tensorflow_model_server(base)
    with context as address:
        if isinstance(address, tuple):
            address = address["REST" in kind]
        yield address


@pytest.fixture
def versioned(request, server):
    """The same, of those servers that know versions."""
    if request.node.callspec.params["server"] == "KServe":
        pytest.skip("KServe serves a folder, not versions of it")
    return server
