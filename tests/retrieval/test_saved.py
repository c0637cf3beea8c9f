"""What was saved elsewhere: arrays of embeddings, exported towers."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.retrieval.saved_arrays import load_arrays
from ms_keras.retrieval.saved_tower import load_saved_tower

ROWS, LABELS = np.eye(3), np.array(["a", "b", "a"])


def test_arrays_come_back_for_both_forms(tmp_path):
    alone, with_gallery = tmp_path / "alone.npz", tmp_path / "gallery.npz"
    np.savez(alone, embeddings=ROWS, labels=LABELS, paths=LABELS)
    arrays = load_arrays(alone)
    np.testing.assert_array_equal(arrays.embeddings, ROWS)
    np.testing.assert_array_equal(arrays.labels, LABELS)
    assert arrays.gallery is arrays.gallery_labels is None
    np.savez(
        with_gallery,
        query_embeddings=ROWS[:1],
        query_labels=LABELS[:1],
        gallery_embeddings=ROWS,
        gallery_labels=LABELS,
    )
    arrays = load_arrays(str(with_gallery))
    np.testing.assert_array_equal(arrays.embeddings, ROWS[:1])
    np.testing.assert_array_equal(arrays.gallery, ROWS)
    np.testing.assert_array_equal(arrays.gallery_labels, LABELS)


@pytest.mark.parametrize(
    "names", [("embeddings",), ("query_embeddings", "query_labels"), ()]
)
def test_missing_arrays_are_named_beside_those_found(tmp_path, names):
    path = tmp_path / "some.npz"
    np.savez(path, **dict.fromkeys(names, ROWS))
    found = ", ".join(names) or "none"
    with pytest.raises(ValueError, match=rf"must hold .* labels.*got {found}"):
        load_arrays(path)


def test_both_sets_of_arrays_are_ambiguous(tmp_path):
    names = ("embeddings", "labels", "query_embeddings", "query_labels")
    names += ("gallery_embeddings", "gallery_labels")
    np.savez(tmp_path / "both.npz", **dict.fromkeys(names, ROWS))
    with pytest.raises(ValueError, match="not both"):
        load_arrays(tmp_path / "both.npz")


@pytest.mark.parametrize("damage", ["text", "empty", "cut", "flipped", "npy"])
def test_a_damaged_file_is_told_as_such(tmp_path, damage):
    path = tmp_path / "damaged.npz"
    np.savez(path, embeddings=np.ones((100, 9)), labels=np.arange(100))
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[2000] ^= 255
    path.write_bytes(
        {"text": b"hello", "cut": whole[:3000], "flipped": flipped}.get(damage, b"")
    )
    if damage == "npy":
        with path.open("wb") as file:
            np.save(file, ROWS)
    with pytest.raises(ValueError, match=r"damaged or not an \.npz"):
        load_arrays(path)


def test_labels_that_are_python_objects_are_refused_with_the_mend(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, embeddings=ROWS, labels=np.array(["a", None, "b"]))
    with pytest.raises(ValueError, match=r"array labels cannot be read.*dtype=str"):
        load_arrays(path)


def test_a_missing_file_is_told_as_such(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        load_arrays(tmp_path / "none.npz")


def save_folder(folder, **arrays):
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def test_arrays_of_a_folder_are_mapped_read_only(tmp_path):
    folder = save_folder(tmp_path / "a", embeddings=ROWS, labels=LABELS, paths=LABELS)
    arrays = load_arrays(folder)
    np.testing.assert_array_equal(arrays.embeddings, ROWS)
    np.testing.assert_array_equal(arrays.labels, LABELS)
    assert arrays.gallery is arrays.gallery_labels is None
    folder = save_folder(
        tmp_path / "b",
        query_embeddings=ROWS[:1],
        query_labels=LABELS[:1],
        gallery_embeddings=ROWS,
        gallery_labels=LABELS,
    )
    arrays = load_arrays(str(folder))
    np.testing.assert_array_equal(arrays.embeddings, ROWS[:1])
    np.testing.assert_array_equal(arrays.gallery, ROWS)
    np.testing.assert_array_equal(arrays.gallery_labels, LABELS)
    for array in arrays:
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable


def test_a_folder_must_have_one_set_of_arrays(tmp_path):
    with pytest.raises(ValueError, match=r"holds no \.npy or \.parquet files"):
        load_arrays(tmp_path)
    save_folder(tmp_path, embeddings=ROWS)
    with pytest.raises(ValueError, match=r"must hold .* labels.*got embeddings"):
        load_arrays(tmp_path)
    names = ("labels", "query_embeddings", "query_labels")
    names += ("gallery_embeddings", "gallery_labels")
    save_folder(tmp_path, **dict.fromkeys(names, ROWS))
    with pytest.raises(ValueError, match="not both"):
        load_arrays(tmp_path)


def test_a_damaged_npy_file_is_told_as_such(tmp_path):
    folder = save_folder(tmp_path, embeddings=ROWS, labels=LABELS)
    file = folder / "embeddings.npy"
    whole = file.read_bytes()
    huge = whole.replace(b"(3, 3), }" + b" " * 30, b"(3" + b"9" * 30 + b", 3), }")
    contents = [b"", b"hello", whole[:50], whole[:-1], huge]
    contents += [whole.replace(b"{", x) for x in (b" ", b"(", b"[{", b"\\")]
    for content in contents:
        assert content != whole
        file.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"embeddings\.npy is damaged .*numpy\.save"
        ):
            load_arrays(folder)


def test_python_objects_in_a_folder_are_refused_with_the_mend(tmp_path):
    save_folder(tmp_path, embeddings=ROWS, labels=np.array(["a", None, "b"]))
    with pytest.raises(ValueError, match=r"labels\.npy .*objects.*dtype=str"):
        load_arrays(tmp_path)


def test_parquet_without_pyarrow_is_told_with_the_mend(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for name in ("parquet", "parquet_columns"):
        monkeypatch.delitem(sys.modules, f"ms_keras.retrieval.{name}", raising=False)
    (tmp_path / "rows.parquet").touch()
    for path in (tmp_path, tmp_path / "rows.parquet"):
        with pytest.raises(ValueError, match=r"rows\.parquet: .*pip install pyarrow"):
            load_arrays(path)


class Tower(tf.Module):
    def __init__(self):
        super().__init__()
        self.scale = tf.Variable(2.0)

    def embed(self, images):
        return {"embeddings": self.scale * tf.reduce_mean(images, [1, 2])}


def export(path, shape=(None, 8, 8, 3), name="images", signature="serving_default"):
    module = Tower()
    function = tf.function(lambda **images: module.embed(*images.values()))
    concrete = function.get_concrete_function(
        **{name: tf.TensorSpec(shape, tf.float32, name)}
    )
    tf.saved_model.save(module, str(path), signatures={signature: concrete})


def test_a_loaded_tower_gives_embeddings_and_knows_its_image_size(tmp_path):
    export(tmp_path / "1")
    tower = load_saved_tower(tmp_path / "1")
    assert tower.image_size == 8
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("f4")
    np.testing.assert_allclose(
        tower.model(tf.constant(images)), 2 * images.mean(axis=(1, 2)), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signature": "other"}, r"got signatures \['other'\]"),
        ({"name": "pictures"}, r"got \['pictures'\] to \['embeddings'\]"),
        ({"shape": (None, None, None, 3)}, r"got images \(None, None, None, 3\)"),
        ({"shape": (None, 8, 6, 3)}, r"got images \(None, 8, 6, 3\)"),
    ],
)
def test_a_model_of_another_signature_is_refused(tmp_path, options, message):
    export(tmp_path / "1", **options)
    with pytest.raises(ValueError, match=message):
        load_saved_tower(tmp_path / "1")


def test_a_folder_of_versions_is_answered_with_the_version(tmp_path):
    export(tmp_path / "3")
    with pytest.raises(ValueError, match=r"Did you mean .*3\?"):
        load_saved_tower(tmp_path)
    with pytest.raises(ValueError, match="Check the path"):
        load_saved_tower(tmp_path / "none")


@pytest.mark.parametrize(
    "file", ["saved_model.pb", "variables/variables.index", "fingerprint.pb"]
)
def test_a_damaged_model_is_told_as_such(tmp_path, file):
    export(tmp_path / "1")
    (tmp_path / "1" / file).write_bytes(b"\x13not a model" * 9)
    if file == "fingerprint.pb":
        load_saved_tower(tmp_path / "1")  # needed by nobody
        return
    with pytest.raises(ValueError, match="damaged SavedModel"):
        load_saved_tower(tmp_path / "1")
