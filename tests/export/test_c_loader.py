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
    subprocess.run(
        ["gcc", "-Wall", str(source), f"-I{tf.sysconfig.get_include()}"]
        + [f"-L{libraries}", f"-Wl,-rpath,{libraries}", *found, "-o", str(program)],
        check=True,
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
    scope="module", params=["float32", "mixed_float16", "mixed_bfloat16", "replicas"]
)
def trained(request, two_replicas, tmp_path_factory):
    """A trained tower with batch norm, and its SavedModel."""
    on_replicas = request.param == "replicas"
    strategy = two_replicas if on_replicas else tf.distribute.get_strategy()
    policy = "float32" if on_replicas else request.param
    # Small networks of Keras have too many layers to train within a test.
    backbone = "mobilenet_v2_0.35" if policy == "float32" else "small_conv"
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        with strategy.scope():
            tower = build_tower(backbone, 8, SIZE, weights=None)
            tower.compile("adam", loss="mse")
        if on_replicas or backbone == "small_conv":
            tower.fit(IMAGES[:2], np.eye(2, 8), verbose=0)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    directory = tmp_path_factory.mktemp("served") / "1"
    save_serving_model(tower, directory, short_side=SHORT_SIDE)
    return tower, directory


def test_pixels_embed_as_in_python(c_loader, trained, tmp_path):
    tower, directory = trained
    IMAGES.tofile(tmp_path / "pixels")
    finished = run_loader(
        c_loader, directory, "serving_default", "pixels", SIZE, tmp_path / "pixels"
    )
    np.testing.assert_allclose(
        rows(finished), tower(IMAGES, training=False), atol=tolerance(tower)
    )


def test_files_embed_as_in_python(c_loader, trained, tmp_path):
    tower, directory = trained
    paths = [tmp_path / "a.jpg", tmp_path / "b.png"]
    image = tf.cast(tf.image.resize(IMAGES[0], (50, 70)), tf.uint8)
    paths[0].write_bytes(tf.io.encode_jpeg(image).numpy())
    paths[1].write_bytes(tf.io.encode_png(image).numpy())
    expected = tf.stack(
        [decode_for_scoring(path.read_bytes(), SIZE, SHORT_SIDE) for path in paths]
    )
    finished = run_loader(c_loader, directory, "embed_bytes", "files", *paths)
    np.testing.assert_allclose(
        rows(finished), tower(expected, training=False), atol=tolerance(tower)
    )


def test_no_files_give_no_rows(c_loader, trained):
    _, directory = trained
    finished = run_loader(c_loader, directory, "embed_bytes", "files")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == ""


def test_a_missing_variable_is_noticed(c_loader, tmp_path):
    # So that the tests above can fail: a module that holds no variables of its own.
    value = tf.Variable([2.0])
    module = tf.Module()
    module.held = value
    directory = tmp_path / "1"
    spec = tf.TensorSpec((None,), tf.float32, name="images")
    function = tf.function(lambda images: {"embeddings": value * images})
    tf.saved_model.save(module, str(directory), function.get_concrete_function(spec))
    for shard in (directory / "variables").iterdir():
        shard.unlink()
    (tmp_path / "pixels").write_bytes(IMAGES[:1].tobytes())
    finished = run_loader(
        c_loader, directory, "serving_default", "pixels", SIZE, tmp_path / "pixels"
    )
    assert finished.returncode == 1


def tolerance(tower):
    """Compiled half-precision graphs round elsewhere than eager ones."""
    policy = tower.get_layer("backbone").compute_dtype
    return {"float32": 1e-6, "float16": 5e-3, "bfloat16": 4e-2}[policy]
