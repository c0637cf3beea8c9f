"""The SavedModel of a tower: its signatures, its numbers, and when it appears."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ms_keras.data.images import decode_for_scoring
from ms_keras.models import build_tower
from ms_keras.serving import ServingOptions, save_serving_model

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
    given = {name: s.structured_input_signature[1] for name, s in signatures.items()}
    files = {"image_bytes": tf.TensorSpec((None,), tf.string, name="image_bytes")}
    assert given == {
        "serving_default": {
            "images": tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32, name="images")
        },
        "embed_bytes": files,
        "embed_bytes_safe": files,
    }
    for signature in signatures.values():
        results = dict(signature.structured_outputs)
        embeddings = results.pop("embeddings")
        assert embeddings.shape.as_list() == [None, 8]
        assert embeddings.dtype == tf.float32
        assert {name: spec.dtype for name, spec in results.items()} in (
            {},
            {"readable": tf.bool},
        )


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


def test_an_image_that_cannot_be_read_is_named_or_left_out(tower, signatures):
    pixels = tf.cast(tf.image.resize(IMAGES[0], (41, 83)), tf.uint8)
    good = tf.io.encode_jpeg(pixels).numpy()
    files = tf.constant([good, good, good[:100], good])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"image_bytes\[2\] of 4"):
        signatures["embed_bytes"](image_bytes=files)
    found = signatures["embed_bytes_safe"](image_bytes=files)
    assert found["readable"].numpy().tolist() == [True, True, False, True]
    expected = np.repeat(tower(decode_for_scoring(good, SIZE, SHORT_SIDE)[None]), 4, 0)
    expected[2] = 0
    np.testing.assert_allclose(found["embeddings"], expected, atol=1e-6)


def test_what_would_grow_beyond_memory_is_named_or_left_out(signatures):
    good = tf.io.encode_png(tf.cast(IMAGES[0], tf.uint8)).numpy()
    grey = np.full((40_000, 1, 1), 127, np.uint8)
    gif = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(gif, "GIF")
    files = tf.constant([good, tf.io.encode_png(grey).numpy(), gif.getvalue(), good])
    for place in (1, 2):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=r"image_bytes\[1\] of 2 .*GIF"
        ):
            signatures["embed_bytes"](image_bytes=tf.gather(files, [0, place]))
    found = signatures["embed_bytes_safe"](image_bytes=files)
    assert found["readable"].numpy().tolist() == [True, False, False, True]


@pytest.mark.parametrize("count", [63, 64, 65, 150])
def test_long_batches_embed_in_parts_as_at_once(tower, signatures, count):
    images = np.random.default_rng(1).uniform(0, 255, (count, SIZE, SIZE, 3))
    images = images.astype("f4")
    embeddings = signatures["serving_default"](images=images)["embeddings"]
    np.testing.assert_allclose(embeddings, tower(images), atol=1e-6)
    encoded = tf.stack([tf.io.encode_png(image) for image in images.astype("u1")])
    found = signatures["embed_bytes"](image_bytes=encoded)["embeddings"]
    scored = tf.stack([decode_for_scoring(f, SIZE, SHORT_SIDE) for f in encoded])
    np.testing.assert_allclose(found, tower(scored), atol=1e-6)


@pytest.mark.parametrize("signature", ["serving_default", "embed_bytes"])
def test_a_request_of_too_many_images_is_refused(tower, tmp_path, signature):
    options = ServingOptions(max_batch=3)
    save_serving_model(tower, tmp_path / "1", short_side=SHORT_SIDE, options=options)
    function = tf.saved_model.load(str(tmp_path / "1")).signatures[signature]
    if signature == "serving_default":
        name, batch = "images", np.zeros((4, SIZE, SIZE, 3), "f4")
    else:
        name, batch = "image_bytes", np.array([b"no image"] * 4, object)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"4 images; .* 3 at most"):
        function(**{name: tf.constant(batch)})


def test_embeddings_can_be_cut_short(tower, tmp_path):
    options = ServingOptions(dim=5)
    save_serving_model(tower, tmp_path / "1", short_side=SHORT_SIDE, options=options)
    signatures = tf.saved_model.load(str(tmp_path / "1")).signatures
    embeddings = signatures["serving_default"](images=IMAGES)["embeddings"]
    expected = tower(IMAGES).numpy()[:, :5]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embeddings, expected, atol=1e-6)


def test_embeddings_can_be_bytes(tower, tmp_path):
    options = ServingOptions(output="int8")
    save_serving_model(tower, tmp_path / "1", short_side=SHORT_SIDE, options=options)
    signatures = tf.saved_model.load(str(tmp_path / "1")).signatures
    embeddings = signatures["serving_default"](images=IMAGES)["embeddings"]
    assert embeddings.dtype == tf.int8
    # Within a rounding of one step: compiled and eager sums differ in the last bit.
    np.testing.assert_allclose(embeddings, 127 * tower(IMAGES).numpy(), atol=0.501)


def test_similarities_of_bytes_are_off_by_as_much_as_is_said():
    rows = np.random.default_rng(0).normal(size=(300, 512))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    coarse = np.round(127 * rows)
    error = coarse @ coarse.T / 127**2 - rows @ rows.T
    assert error[~np.eye(300, dtype=bool)].std() < 0.0035


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "float16"}, "output must be one of"),
        ({"dim": -1}, "dim must be 0 or more; got -1"),
        ({"max_batch": 0}, "max_batch must be 1 or more"),
        ({"max_pixels": 0}, "max_pixels must be 1 or more"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ServingOptions(**options)


def test_more_entries_than_there_are_cannot_be_kept(tower, tmp_path):
    with pytest.raises(ValueError, match=r"8 entries, dim=9 cannot be kept"):
        save_serving_model(
            tower, tmp_path / "1", short_side=SHORT_SIDE, options=ServingOptions(dim=9)
        )
    assert list(tmp_path.iterdir()) == []


def test_no_path_of_this_machine_is_inside(directory):
    for path in directory.rglob("*"):
        if path.is_file():
            assert str(directory.parent).encode() not in path.read_bytes()


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
    with pytest.raises(OSError, match="no space"):
        save_serving_model(
            tower, tmp_path / "models/birds", short_side=SHORT_SIDE, numbered=True
        )
    assert list(tmp_path.iterdir()) == []


def test_a_version_gets_the_number_that_is_next_when_it_is_complete(
    tower, tmp_path, monkeypatch
):
    save = tf.saved_model.save

    def saves_while_others_do(*args, **kwargs):
        save(*args, **kwargs)
        (tmp_path / "birds/1").mkdir()
        (tmp_path / "birds/1/saved_model.pb").write_text("theirs")

    monkeypatch.setattr(tf.saved_model, "save", saves_while_others_do)
    made = save_serving_model(
        tower, tmp_path / "birds", short_side=SHORT_SIDE, numbered=True
    )
    assert made == tmp_path / "birds/2"
    assert (made / "saved_model.pb").is_file()
    assert (tmp_path / "birds/1/saved_model.pb").read_text() == "theirs"


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
