"""Files of answers: every type comes back, and a failure leaves none."""

import os

import numpy as np
import pyarrow.parquet as parquet
import pytest

from ms_keras.serving.client.batches import Answer
from ms_keras.serving.client.writers import new_output, write

SUFFIXES = ("npz", "parquet")


def read(path):
    if path.suffix == ".npz":
        return dict(np.load(path))  # without pickle
    table = parquet.read_table(path)
    return {name: np.array(table[name].to_pylist()) for name in table.column_names}


def neighbours(first, count):
    ids = np.array([[f"i{n}", "ü"] for n in range(first, first + count)], object)
    scores = np.arange(2 * count, dtype="f4").reshape(count, 2)
    names = [f"q{n}" for n in range(first, first + count)]
    return Answer(names, {"ids": ids, "scores": scores})


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_neighbours_come_back_in_order(tmp_path, suffix):
    out = tmp_path / f"rows.{suffix}"
    assert write(out, iter([neighbours(0, 2), neighbours(2, 1)])) == 3
    rows = read(out)
    assert list(rows["names"]) == ["q0", "q1", "q2"]
    assert rows["ids"].tolist() == [["i0", "ü"], ["i1", "ü"], ["i2", "ü"]]
    np.testing.assert_array_equal(rows["scores"], [[0, 1], [2, 3], [0, 1]])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_integer_rows_stay_integers(tmp_path, suffix):
    embeddings = np.array([[-127, 0, 127]], np.int8)
    out = tmp_path / f"rows.{suffix}"
    write(out, [Answer(["a"], {"embeddings": embeddings})])
    rows = read(out)
    np.testing.assert_array_equal(rows["embeddings"], embeddings)
    assert list(rows["readable"]) == [True]
    if suffix == "npz":
        assert rows["embeddings"].dtype == np.int8
    else:
        kind = parquet.read_schema(out).field("embeddings").type
        assert str(kind.value_type) == "int8"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_on_the_way_leaves_nothing(tmp_path, suffix):
    def broken():
        yield neighbours(0, 2)
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        write(tmp_path / f"rows.{suffix}", broken())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("links", [True, False])
def test_a_file_made_meanwhile_is_left_alone(tmp_path, suffix, links, monkeypatch):
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    out = tmp_path / f"rows.{suffix}"

    def meanwhile():
        yield neighbours(0, 2)
        out.write_bytes(b"theirs")

    with pytest.raises(FileExistsError, match="was made meanwhile"):
        write(out, meanwhile())
    assert out.read_bytes() == b"theirs"
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def no_links(*_):
    raise OSError("links are not supported here")


def test_a_file_system_needs_no_links(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", no_links)
    assert write(tmp_path / "rows.npz", [neighbours(0, 2)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["rows.npz"]


def test_other_names_and_files_that_exist_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.npz or \.parquet"):
        new_output(str(tmp_path / "rows.csv"))
    (tmp_path / "rows.npz").write_bytes(b"mine")
    with pytest.raises(ValueError, match="exists already"):
        new_output(str(tmp_path / "rows.npz"))
    assert (tmp_path / "rows.npz").read_bytes() == b"mine"
