"""Towers as ONNX files: written only where onnxruntime agrees, and scored as towers."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.models import build_tower
from ms_keras.retrieval.saved_tower import load_saved_tower
from ms_keras.serving import save_serving_model
from ms_keras.serving.onnx_file import save_onnx

pytest.importorskip("tf2onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime")

ROOT = pathlib.Path(__file__).parents[2]
SIZE, DIM = 32, 8
IMAGES = np.random.default_rng(0).uniform(0, 255, (7, SIZE, SIZE, 3)).astype("f4")


@pytest.fixture(scope="module")
def tower():
    return build_tower("small_conv", DIM, SIZE, weights=None)


@pytest.fixture(scope="module")
def saved_model(tower, tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "1"
    save_serving_model(tower, directory, short_side=SIZE)
    return directory


@pytest.fixture(scope="module")
def exported(saved_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "parent" / "tower.onnx"
    return path, save_onnx(saved_model, path)


class Module(tf.Module):
    """A tower of any shapes and types, for refusals."""

    def __init__(self, embed):
        super().__init__()
        self.embed = embed

    def save(self, directory, size=16):
        spec = tf.TensorSpec((None, size, size, 3), tf.float32, name="images")
        function = tf.function(lambda images: {"embeddings": self.embed(images)})
        signature = function.get_concrete_function(spec)
        tf.saved_model.save(self, str(directory), {"serving_default": signature})
        return directory


@pytest.mark.parametrize("batch", [0, 1, 3, 7])
def test_onnxruntime_gives_the_towers_embeddings_in_batches_of_any_size(
    tower, exported, batch
):
    session = onnxruntime.InferenceSession(
        str(exported[0]), providers=["CPUExecutionProvider"]
    )
    (images,), (embeddings,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape[1:]) == (
        "images",
        "tensor(float)",
        [SIZE, SIZE, 3],
    )
    assert (embeddings.name, embeddings.shape[1:]) == ("embeddings", [DIM])
    (rows,) = session.run(["embeddings"], {"images": IMAGES[:batch]})
    assert rows.shape == (batch, DIM)
    expected = np.concatenate([tower(image[None]) for image in IMAGES])
    np.testing.assert_allclose(rows, expected[:batch], atol=1e-4)


def test_the_difference_told_is_rounding_and_nothing_else_is_left(exported):
    path, difference = exported
    assert 0 <= difference < 1e-4
    assert [file.name for file in path.parent.iterdir()] == ["tower.onnx"]


def test_the_file_is_scored_as_the_saved_model_is(exported, saved_model):
    of_file, of_model = load_saved_tower(exported[0]), load_saved_tower(saved_model)
    assert of_file.image_size == of_model.image_size == SIZE
    run = tf.function(of_file.model, autograph=False)  # as scoring runs it
    rows = run(tf.constant(IMAGES))
    assert rows.dtype == tf.float32
    np.testing.assert_allclose(rows, of_model.model(tf.constant(IMAGES)), atol=1e-4)


def test_a_file_that_differs_from_what_is_served_is_not_written(tmp_path):
    module = Module(lambda images: tf.reduce_mean(images, [1, 2]))
    module.rows = tf.function(
        lambda images: -tf.reduce_mean(images, [1, 2]),
        [tf.TensorSpec((None, 16, 16, 3), tf.float32, name="images")],
    )
    model = module.save(tmp_path / "1")
    with pytest.raises(ValueError, match="differ from the SavedModel's by up to"):
        save_onnx(model, tmp_path / "tower.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["1"]


def test_an_operation_that_onnx_lacks_is_refused(tmp_path):
    module = Module(lambda images: tf.math.bessel_i1(tf.reduce_mean(images, [1, 2])))
    with pytest.raises(ValueError, match=r"no model that onnxruntime .* can run"):
        save_onnx(module.save(tmp_path / "1"), tmp_path / "tower.onnx")
    assert not (tmp_path / "tower.onnx").exists()


def test_embeddings_of_integers_are_refused(tmp_path):
    module = Module(lambda images: tf.cast(tf.reduce_mean(images, [1, 2]), tf.int8))
    with pytest.raises(ValueError, match="float32 embeddings; got int8"):
        save_onnx(module.save(tmp_path / "1"), tmp_path / "tower.onnx")


def test_mistakes_are_told_with_their_mend(saved_model, exported, tmp_path):
    cases = {
        (saved_model, tmp_path / "tower"): r"must end in \.onnx; got tower",
        (saved_model, exported[0]): r"exists already\. Remove it",
        (exported[0], tmp_path / "a.onnx"): "is a file; expected the folder",
        (tmp_path, tmp_path / "a.onnx"): "holds no SavedModel",
        (saved_model.parent, tmp_path / "a.onnx"): r"Did you mean .*1\?",
    }
    for (tower, path), message in cases.items():
        with pytest.raises(ValueError, match=message):
            save_onnx(tower, path)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_tower_are_refused(exported, tmp_path):
    whole = exported[0].read_bytes()
    contents = {"text": b"not a model" * 99, "empty": b"", "cut": whole[:2000]}
    for name, content in contents.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}\.onnx is no model .* can run"):
            load_saved_tower(path)
    with pytest.raises(ValueError, match=r"none\.onnx cannot be read"):
        load_saved_tower(tmp_path / "none.onnx")


def test_a_model_over_other_inputs_is_refused(tmp_path):
    import onnx

    wide = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "channels first", [wide], [out])
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.save(model, str(tmp_path / "other.onnx"))
    with pytest.raises(ValueError, match=r"expected a tower .* got \[1, 3, 8, 8\]"):
        load_saved_tower(tmp_path / "other.onnx")


def test_without_the_package_the_mend_is_told(saved_model, exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"pip install 'ms_keras\[onnx\]'"):
        load_saved_tower(exported[0])
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ValueError, match=r"pip install 'ms_keras\[onnx\]'"):
        save_onnx(saved_model, exported[0].with_name("other.onnx"))


def test_the_program_writes_the_file_and_says_how_near_it_is(saved_model, tmp_path):
    path = tmp_path / "tower.onnx"
    command = [sys.executable, "-m", "export.onnx"]
    done = subprocess.run(
        [*command, f"--tower={saved_model}", f"--out={path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr
    near, told = done.stdout.splitlines()
    assert near.startswith("Within ")
    assert told == str(path)
    assert path.is_file()
