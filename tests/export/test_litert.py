"""Towers as LiteRT files: three precisions, one contract, scored as towers."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ms_keras.models import build_tower
from ms_keras.retrieval.saved_tower import load_saved_tower
from ms_keras.serving import save_serving_model
from ms_keras.serving.litert_file import save_litert

ROOT = pathlib.Path(__file__).parents[2]
SIZE, DIM = 32, 8


@pytest.fixture(scope="module")
def tower():
    return build_tower("small_conv", DIM, SIZE, weights=None)


@pytest.fixture(scope="module")
def saved_model(tower, tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "1"
    save_serving_model(tower, directory, short_side=SIZE)
    return directory


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder per class, one of them a link, and what is no photograph beside."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for number in range(20):
        folder = root / "elsewhere" / "wren" if number % 2 else root / "train" / "owl"
        folder.mkdir(parents=True, exist_ok=True)
        cells = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        picture = Image.fromarray(cells).resize((50, 40), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number}.jpg")
    (root / "train" / "wren").symlink_to(root / "elsewhere" / "wren")
    (root / "train" / "owl" / "notes.txt").write_text("nocturnal")
    (root / "train" / ".cache").mkdir()
    (root / "train" / ".cache" / "half.jpg").write_bytes(b"\xff\xd8")
    return root / "train"


@pytest.fixture(scope="module")
def images(photographs):
    """`[20, SIZE, SIZE, 3]`, cut by Pillow."""
    files = sorted(photographs.glob("[!.]*/*.jpg"))
    pictures = [Image.open(file).crop((5, 0, 45, 40)) for file in files]
    pixels = [np.asarray(picture.resize((SIZE, SIZE))) for picture in pictures]
    return np.stack(pixels).astype("f4")


@pytest.fixture(scope="module", params=["int8", "float16", "none"])
def exported(request, saved_model, photographs, tmp_path_factory):
    quantize = request.param
    path = tmp_path_factory.mktemp(quantize) / "parent" / "tower.tflite"
    cosine = save_litert(
        saved_model,
        path,
        quantize=quantize,
        calibration=photographs if quantize == "int8" else None,
    )
    return quantize, path, cosine


def embed(path, images):
    """Runs a file image by image, as an app does, without the package."""
    interpreter = tf.lite.Interpreter(model_path=str(path))
    run = interpreter.get_signature_runner("serving_default")
    return np.concatenate([run(images=image[None])["embeddings"] for image in images])


def test_embeddings_are_the_towers_as_far_as_the_precision_goes(
    tower, exported, images
):
    quantize, path, cosine = exported
    rows, expected = embed(path, images), tower(images).numpy()
    assert rows.shape == (20, DIM)
    assert rows.dtype == np.float32
    cosines = (rows * expected).sum(axis=1) / np.linalg.norm(rows, axis=1)
    least = {"int8": 0.97, "float16": 0.9999, "none": 0.999999}[quantize]
    assert cosines.mean() > least
    assert cosine == pytest.approx(cosines.mean(), abs=0.01)
    if quantize == "none":
        np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_rows_have_norm_one_whatever_the_precision(exported, images):
    norms = np.linalg.norm(embed(exported[1], images), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-5)


def test_fewer_bits_make_a_smaller_file_and_nothing_else_is_left(tower, exported):
    quantize, path, _ = exported
    floats = 4 * sum(int(np.prod(v.shape)) for v in tower.variables)
    overhead = 90_000  # of the graph itself
    share = {"int8": 1 / 4, "float16": 1 / 2, "none": 1}[quantize]
    assert floats * share <= path.stat().st_size < floats * share + overhead
    assert [file.name for file in path.parent.iterdir()] == ["tower.tflite"]


def test_the_file_is_scored_as_an_app_runs_it(exported, images):
    loaded = load_saved_tower(exported[1])
    assert loaded.image_size == SIZE
    run = tf.function(loaded.model, autograph=False)  # as scoring runs it
    rows = run(tf.constant(images))
    # Kernels differ in how they round a half to an integer.
    tolerance = 0.03 if exported[0] == "int8" else 1e-5
    np.testing.assert_allclose(rows, embed(exported[1], images), atol=tolerance)
    assert run(tf.constant(images[:0])).shape == (0, DIM)


def test_int8_computes_with_integers(exported):
    quantize, path, _ = exported
    interpreter = tf.lite.Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    kinds = [tensor["dtype"] for tensor in interpreter.get_tensor_details()]
    assert (kinds.count(np.int8) > len(kinds) / 4) == (quantize == "int8")


def test_calibration_needs_enough_images_that_can_be_read(
    saved_model, photographs, tmp_path
):
    path, few, bad = tmp_path / "a.tflite", tmp_path / "few", tmp_path / "bad"
    for folder in (few, bad):
        folder.mkdir()
        for number in range(9 if folder == few else 10):
            (folder / f"{number}.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    with pytest.raises(ValueError, match="--calibration, a folder of photographs"):
        save_litert(saved_model, path)
    with pytest.raises(ValueError, match=r"none holds 0 images"):
        save_litert(saved_model, path, calibration=tmp_path / "none")
    with pytest.raises(ValueError, match=r"few holds 9 images .* expected 10 at"):
        save_litert(saved_model, path, calibration=few)
    with pytest.raises(ValueError, match=r"cannot read .*bad/0\.jpg: missing, trunc"):
        save_litert(saved_model, path, calibration=bad)
    assert not path.exists()


def test_other_mistakes_are_told_with_their_mend(saved_model, exported, tmp_path):
    float16 = {"quantize": "float16"}
    cases = [
        (saved_model, tmp_path / "a.tflite", {"quantize": "int4"}, "got 'int4'"),
        (saved_model, tmp_path / "a.lite", float16, r"must end in \.tflite; got a.lit"),
        (saved_model, exported[1], float16, r"exists already\. Remove it"),
        (exported[1], tmp_path / "a.tflite", float16, "is a file; expected the folder"),
        (tmp_path, tmp_path / "a.tflite", float16, "holds no SavedModel"),
    ]
    for tower, path, options, message in cases:
        with pytest.raises(ValueError, match=message):
            save_litert(tower, path, **options)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_tower_are_refused(exported, tmp_path):
    whole = exported[1].read_bytes()
    contents = {"text": b"not a model" * 99, "empty": b"", "cut": whole[:2000]}
    for name, content in contents.items():
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}\.tflite is no model that Lite"):
            load_saved_tower(path)


def test_a_model_over_other_inputs_is_refused(tmp_path):
    spec = tf.TensorSpec((1, 8, 8), tf.float32, name="images")
    concrete = tf.function(lambda images: images[0]).get_concrete_function(spec)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    (tmp_path / "other.tflite").write_bytes(converter.convert())
    with pytest.raises(
        ValueError, match=r"expected a tower .* got \[1, 8, 8\] float32"
    ):
        load_saved_tower(tmp_path / "other.tflite")


def test_the_program_writes_the_file_and_says_how_near_it_is(saved_model, tmp_path):
    path = tmp_path / "tower.tflite"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "export.litert", f"--tower={saved_model}"),
            *(f"--out={path}", "--quantize=float16"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr
    assert "MB; mean cosine with the SavedModel's: 1.0000." in done.stdout
    assert done.stdout.splitlines()[-1] == str(path)
    assert path.is_file()
