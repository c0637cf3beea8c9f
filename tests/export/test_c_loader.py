"""The SavedModel through TensorFlow's C loader, which TF Serving uses too."""

import pathlib
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from ms_keras.data.images import decode_for_scoring
from ms_keras.models import build_tower
from ms_keras.models.serving import save_serving_model

SIZE, SHORT_SIDE = 32, 36
IMAGES = np.random.default_rng(0).uniform(0, 255, (3, SIZE, SIZE, 3)).astype("f4")


@pytest.fixture(scope="module")
def c_loader(tmp_path_factory):
    """Compiles the C program against TensorFlow's own libraries."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile the C loader with")
    libraries = tf.sysconfig.get_lib()
    program = tmp_path_factory.mktemp("c") / "c_loader"
    source = pathlib.Path(__file__).parent / "c_loader.c"
    found = [f"-l:{path.name}" for path in pathlib.Path(libraries).glob("lib*.so.2")]
    if not any("libtensorflow_cc" in library for library in found):
        pytest.skip(f"no libtensorflow_cc in {libraries} to link with")
    include = f"-I{tf.sysconfig.get_include()}"
    where = [f"-L{libraries}", f"-Wl,-rpath,{libraries}"]
    subprocess.run(
        ["gcc", "-Wall", source, "-o", program, include, *where, *found], check=True
    )
    return program


def run_loader(program, saved_model, signature, *arguments):
    """Runs one signature in a process of its own and returns the rows it prints."""
    proto = saved_model_pb2.SavedModel.FromString(
        (saved_model / "saved_model.pb").read_bytes()
    )
    names = proto.meta_graphs[0].signature_def[signature]
    (given,), (result,) = names.inputs.values(), names.outputs.values()
    return subprocess.run(
        [program, saved_model, given.name, result.name, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def rows(finished):
    assert finished.returncode == 0, finished.stderr
    return np.array([line.split() for line in finished.stdout.splitlines()], "f4")


@pytest.fixture(
    scope="module",
    params=["batch_norm", "replicas", "mixed_float16", "mixed_bfloat16"],
)
def served(request, two_replicas, tmp_path_factory):
    """What a tower computes, trained if that is quick, and its SavedModel."""
    on_replicas = request.param == "replicas"
    strategy = two_replicas if on_replicas else tf.distribute.get_strategy()
    policy = request.param if "mixed" in request.param else "float32"
    deep = request.param == "batch_norm"
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        with strategy.scope():
            backbone = "mobilenet_v2_0.35" if deep else "small_conv"
            tower = build_tower(backbone, 8, SIZE, weights=None)
            tower.compile("adam", loss="mse")
        if not deep:
            tower.fit(IMAGES[:2], np.eye(2, 8), verbose=0)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    directory = tmp_path_factory.mktemp("served") / "1"
    save_serving_model(tower, directory, short_side=SHORT_SIDE)
    # Compiled: half precision rounds elsewhere when run eagerly.
    return tf.function(lambda images: tower(images, training=False)), directory


def test_pixels_embed_as_in_python(c_loader, served, tmp_path):
    embed, directory = served
    IMAGES.tofile(tmp_path / "pixels")
    finished = run_loader(
        c_loader, directory, "serving_default", "pixels", SIZE, tmp_path / "pixels"
    )
    np.testing.assert_allclose(rows(finished), embed(IMAGES), atol=1e-6)


def test_files_embed_as_in_python(c_loader, served, tmp_path):
    embed, directory = served
    paths = [tmp_path / "a.jpg", tmp_path / "b.png"]
    image = tf.cast(tf.image.resize(IMAGES[0], (50, 70)), tf.uint8)
    paths[0].write_bytes(tf.io.encode_jpeg(image).numpy())
    paths[1].write_bytes(tf.io.encode_png(image).numpy())
    scored = tf.stack(
        [decode_for_scoring(path.read_bytes(), SIZE, SHORT_SIDE) for path in paths]
    )
    finished = run_loader(c_loader, directory, "embed_bytes", "files", *paths)
    np.testing.assert_allclose(rows(finished), embed(scored), atol=1e-6)


def test_no_files_give_no_rows(c_loader, served):
    # TensorFlow's fused convolution with batch norm fails on an empty batch.
    _, directory = served
    finished = run_loader(c_loader, directory, "embed_bytes", "files")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == ""


@pytest.mark.skipif(
    not hasattr(tf.keras, "version"), reason="Keras 2 hangs its variables on modules"
)
def test_the_loader_notices_variables_that_python_does_not_miss(c_loader, tmp_path):
    tower = build_tower("small_conv", 8, SIZE, weights=None)
    module = tf.Module()
    module.tower = tower
    directory = tmp_path / "1"
    spec = tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32, name="images")
    function = tf.function(lambda images: {"embeddings": module.tower(images)})
    tf.saved_model.save(module, str(directory), function.get_concrete_function(spec))
    IMAGES.tofile(tmp_path / "pixels")
    signature = tf.saved_model.load(str(directory)).signatures["serving_default"]
    assert signature(images=IMAGES)["embeddings"].shape == (3, 8)
    finished = run_loader(
        c_loader, directory, "serving_default", "pixels", SIZE, tmp_path / "pixels"
    )
    assert finished.returncode == 1
    assert "Could not find variable" in finished.stderr
