"""The SavedModel of a tower: its signatures, its numbers, and when it appears."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.data.images import decode_for_scoring
from ms_keras.models import build_tower
from ms_keras.models.serving import save_serving_model

SIZE, SHORT_SIDE = 32, 36
IMAGES = np.random.default_rng(0).uniform(0, 255, (3, SIZE, SIZE, 3)).astype("f4")


@pytest.fixture(scope="module")
def tower():
    return build_tower("small_conv", 8, SIZE, weights=None)


@pytest.fixture(scope="module")
def directory(tower, tmp_path_factory):
    directory = tmp_path_factory.mktemp("served") / "parent" / "1"
    save_serving_model(tower, directory, short_side=SHORT_SIDE)
    return directory


@pytest.fixture(scope="module")
def signatures(directory):
    return tf.saved_model.load(str(directory)).signatures


def test_there_are_two_signatures_of_these_names_and_shapes(signatures):
    assert set(signatures) == {"serving_default", "embed_bytes"}
    given = {name: s.structured_input_signature[1] for name, s in signatures.items()}
    assert given == {
        "serving_default": {
            "images": tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32, name="images")
        },
        "embed_bytes": {
            "image_bytes": tf.TensorSpec((None,), tf.string, name="image_bytes")
        },
    }
    for signature in signatures.values():
        (result,) = signature.structured_outputs.items()
        assert result[0] == "embeddings"
        assert result[1].shape.as_list() == [None, 8]
        assert result[1].dtype == tf.float32


def test_pixels_embed_as_the_tower_does(tower, signatures):
    embeddings = signatures["serving_default"](images=IMAGES)["embeddings"]
    np.testing.assert_allclose(embeddings, tower(IMAGES), atol=1e-6)


def test_files_embed_as_scored_images_do(tower, signatures):
    pixels = tf.cast(tf.image.resize(IMAGES[0], (41, 83)), tf.uint8)
    encoded = [tf.io.encode_jpeg(pixels), tf.io.encode_png(pixels[..., :1])]
    scored = [decode_for_scoring(file, SIZE, SHORT_SIDE) for file in encoded]
    embeddings = signatures["embed_bytes"](image_bytes=tf.stack(encoded))
    expected = tower(tf.stack(scored))
    np.testing.assert_allclose(embeddings["embeddings"], expected, atol=1e-6)


def test_no_images_give_no_rows(signatures):
    rows = signatures["serving_default"](images=IMAGES[:0])["embeddings"]
    assert rows.shape == (0, 8)
    rows = signatures["embed_bytes"](image_bytes=tf.constant([], tf.string))
    assert rows["embeddings"].shape == (0, 8)


def test_it_loads_where_the_package_is_not(tower, directory, tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    program = """
import sys
sys.modules["ms_keras"] = None  # any import of it fails, installed or not
import numpy as np, tensorflow as tf
signature = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
rows = signature(images=tf.constant(np.load("images.npy")))["embeddings"]
np.save("rows.npy", rows)
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-I", "-c", program, str(directory)],
        cwd=tmp_path,
        env=environment,
        check=True,
    )
    np.testing.assert_allclose(np.load(tmp_path / "rows.npy"), tower(IMAGES), atol=1e-6)


def test_nothing_but_the_model_is_left_beside_it(directory):
    assert [path.name for path in directory.parent.iterdir()] == ["1"]
    mask = os.umask(0)
    os.umask(mask)
    # A server under another account must be able to read it.
    assert directory.stat().st_mode & 0o777 == 0o777 & ~mask


def test_an_existing_folder_is_left_alone(tower, tmp_path):
    target = tmp_path / "1"
    target.mkdir()
    with pytest.raises(FileExistsError, match=r"exists already\. Remove"):
        save_serving_model(tower, target, short_side=SHORT_SIDE)
    assert list(target.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_a_failed_write_leaves_nothing(tower, tmp_path, monkeypatch):
    save = tf.saved_model.save

    def fails_at_the_end(*args, **kwargs):
        save(*args, **kwargs)
        raise OSError("no space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fails_at_the_end)
    with pytest.raises(OSError, match="no space"):
        save_serving_model(tower, tmp_path / "1", short_side=SHORT_SIDE)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_write_leaves_no_version_to_serve(tower, tmp_path, monkeypatch):
    seen = []

    def killed(served, path, signatures):
        # What a server that watches the folder finds while it is written.
        os.mkdir(path)
        seen.extend(child.name for child in tmp_path.iterdir())
        raise SystemExit

    monkeypatch.setattr(tf.saved_model, "save", killed)
    with pytest.raises(SystemExit):
        save_serving_model(tower, tmp_path / "1", short_side=SHORT_SIDE)
    assert len(seen) == 1
    assert not seen[0].isdecimal()


def test_a_short_side_below_the_image_size_is_refused(tower, tmp_path):
    with pytest.raises(ValueError, match=r"at least .* 32; got 31"):
        save_serving_model(tower, tmp_path / "1", short_side=31)


def test_a_model_over_other_inputs_is_refused(tmp_path):
    numbers = tf.keras.Input((3,))
    model = tf.keras.Model(numbers, tf.keras.layers.Dense(2)(numbers))
    with pytest.raises(ValueError, match=r"square images.*\(None, 3\)"):
        save_serving_model(model, tmp_path / "1", short_side=32)
