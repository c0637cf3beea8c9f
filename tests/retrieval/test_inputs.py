"""Unit rows of memory-mapped arrays: the same rows, without a copy in memory."""

import pathlib
import resource
import subprocess
import sys

import numpy as np
import pytest

import ms_keras
from ms_keras.retrieval import inputs
from ms_keras.retrieval.inputs import unit_rows
from ms_keras.retrieval.mapped_arrays import is_mapped


def mapped(path, rows, mode="r"):
    np.save(path, rows)
    return np.load(path, mmap_mode=mode)


def naive_units(rows):
    """Returns rows of norm 1 by loops in float64."""
    found = []
    for row in np.asarray(rows, np.float64):
        norm = sum(x * x for x in row) ** 0.5
        found.append([x / norm if norm else 0.0 for x in row])
    return np.array(found)


def some_units(count=40, dim=8):
    rows = np.random.default_rng(0).normal(size=(count, dim))
    return naive_units(rows).astype(np.float32)


@pytest.fixture(autouse=True)
def blocks_of_a_few_rows(monkeypatch):
    monkeypatch.setattr(inputs, "_BLOCK_ENTRIES", 60)


@pytest.mark.parametrize("dtype", ["f2", "<f4", ">f4", "f8", "i4", "u1", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_mapped_rows_become_unit_rows_as_others_do(tmp_path, dtype, order):
    rows = np.random.default_rng(1).uniform(0, 9, (40, 8)).astype(dtype, order=order)
    rows[3] = 0
    before = mapped(tmp_path / "rows.npy", rows)
    units = unit_rows(before, "rows")
    assert units.dtype == np.float32
    assert is_mapped(units)
    np.testing.assert_allclose(units, naive_units(rows), atol=1e-7)
    np.testing.assert_array_equal(units, unit_rows(rows, "rows"))
    np.testing.assert_array_equal(before, rows)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_mapped_rows_neither_overflow_nor_vanish(tmp_path, scale):
    rows = some_units() * np.float32(scale)
    units = unit_rows(mapped(tmp_path / "rows.npy", rows), "rows")
    np.testing.assert_allclose(units, some_units(), atol=2e-7)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_mapped_unit_rows_are_not_copied_nor_can_be_written_to(tmp_path, mode):
    rows = mapped(tmp_path / "rows.npy", some_units(), mode)
    views = {
        "itself": rows,
        "array": np.asarray(rows),
        "slice": rows[3:9],
        "steps": rows[::-2],
        "nested": np.asarray(rows[5:])[2:][:4],
    }
    for name, view in views.items():
        units = unit_rows(view, "rows")
        assert np.shares_memory(units, rows), name
        assert not units.flags.writeable
        np.testing.assert_array_equal(units, view)
    assert rows.flags.writeable == (mode != "r")


def test_a_row_of_zeros_is_no_reason_to_copy(tmp_path):
    rows = some_units()
    rows[[0, 17]] = 0
    rows = mapped(tmp_path / "rows.npy", rows)
    assert np.shares_memory(unit_rows(rows, "rows"), rows)


@pytest.mark.parametrize("row", [0, 17, 39])
def test_one_row_of_another_norm_has_all_normalised(tmp_path, row):
    rows = some_units()
    rows[row] *= 1.001
    rows[5] = rows[38] = rows[20]  # on both sides of it
    units = unit_rows(mapped(tmp_path / "rows.npy", rows), "rows")
    np.testing.assert_allclose(units, naive_units(rows), atol=1e-7)
    np.testing.assert_array_equal(units[5], units[20])
    np.testing.assert_array_equal(units[5], units[38])


def test_copies_of_mapped_rows_stay_in_memory(tmp_path):
    rows = mapped(tmp_path / "rows.npy", some_units())
    for copy in (rows.copy(), rows.astype(np.float64), rows[[1, 2]], rows + 0):
        assert not is_mapped(copy)
        assert not is_mapped(unit_rows(copy, "rows"))


@pytest.mark.parametrize("off", [0, 2e-7, 9e-7, 1e-5])
def test_a_collapsed_tower_scores_nothing_from_a_file_either(tmp_path, off):
    labels = np.array([0, 0, 1, 1, 2, 2])
    scales = np.where(labels == 0, 1 + off, 1 - off)[:, np.newaxis]
    rows = (some_units(1, 64) * scales).astype(np.float32)
    recall = ms_keras.recall_at_k(mapped(tmp_path / "r.npy", rows), labels, (1,))
    assert recall == {1: 0}


@pytest.mark.parametrize("scale", [1, 3])
def test_mapped_rows_score_as_those_in_memory(tmp_path, scale):
    rng = np.random.default_rng(3)
    rows, labels = some_units(60) * np.float32(scale), rng.integers(0, 9, 60)
    queries = mapped(tmp_path / "rows.npy", rows)
    gallery, ids = queries[20:], labels[20:]
    assert ms_keras.recall_at_k(queries, labels) == ms_keras.recall_at_k(rows, labels)
    assert ms_keras.recall_at_k(
        queries[:20], labels[:20], gallery=gallery, gallery_labels=ids
    ) == ms_keras.recall_at_k(
        rows[:20], labels[:20], gallery=rows[20:], gallery_labels=ids
    )


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("where", ["memory", "file"])
def test_entries_that_are_not_finite_are_counted_and_named(tmp_path, scale, where):
    rows = some_units() * np.float32(scale)
    rows[17, 2], rows[18, 3], rows[39] = np.nan, -np.inf, np.nan
    if where == "file":
        rows = mapped(tmp_path / "rows.npy", rows)
    with pytest.raises(ValueError, match=r"gallery must be finite; 3 of 40.*row 17\."):
        unit_rows(rows, "gallery")


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), (0, 3), (3, 0), ()])
def test_mapped_arrays_of_another_shape_are_refused(tmp_path, shape):
    with pytest.raises(ValueError, match=r"rows must be a non-empty \[n, dim\] array"):
        unit_rows(mapped(tmp_path / "rows.npy", np.ones(shape)), "rows")


def test_mapped_strings_are_refused(tmp_path):
    rows = mapped(tmp_path / "rows.npy", np.array([["a", "b"]]))
    with pytest.raises(ValueError, match="rows must be real numbers"):
        unit_rows(rows, "rows")


def unnamed_files():
    lines = pathlib.Path("/proc/self/maps").read_text().splitlines()
    return sum("(deleted)" in line for line in lines)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_disk_space_is_given_back_with_the_last_view(tmp_path):
    rows, before = mapped(tmp_path / "rows.npy", 3 * some_units()), unnamed_files()
    view = unit_rows(rows, "rows")[5:, 1]
    assert unnamed_files() == before + 1
    del view
    assert unnamed_files() == before
    rows = mapped(tmp_path / "nan.npy", np.full((3, 2), np.nan))
    with pytest.raises(ValueError, match="finite"):
        unit_rows(rows, "rows")
    assert unnamed_files() == before


def test_a_full_disk_is_told_with_the_mend(tmp_path):
    rows = mapped(tmp_path / "rows.npy", np.ones((1000, 100)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 17, hard))
    try:
        with pytest.raises(ValueError, match=r"No room for 0\.4 MB .*TMPDIR"):
            unit_rows(rows, "rows")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# Memory that is no file's is limited before, so that a copy that came and went fails.
IN_LITTLE_MEMORY = """
import pathlib, re, resource, sys, types
import numpy as np

# Without TensorFlow, which the package imports.
for name, folder in ("ms_keras", ""), ("ms_keras.retrieval", "/retrieval"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [sys.argv[1] + folder]
from ms_keras.retrieval.inputs import unit_rows

def memory(name):
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(name + r":\\s*(\\d+) kB", status)[1]) * 1024

files = [np.load(path, mmap_mode="r") for path in sys.argv[2:]]
before = memory("RssAnon")
most = memory("VmData") + 50_000_000
resource.setrlimit(resource.RLIMIT_DATA, (most, most))
for rows in files:
    units = unit_rows(rows, "rows")
    print(units.nbytes, memory("RssAnon") - before, np.shares_memory(units, rows))
    try:
        print(np.ones(units.shape, np.float32).shape)
    except MemoryError:
        print("no room for a copy")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_200_mb_of_mapped_rows_take_less_than_50_mb_of_memory(tmp_path):
    paths, block = {}, some_units(1000, 512)
    for name, scale in {"unit": 1, "other": 3}.items():
        paths[name] = tmp_path / f"{name}.npy"
        rows = np.lib.format.open_memmap(paths[name], "w+", np.float32, (100_000, 512))
        for start in range(0, 100_000, 1000):
            rows[start : start + 1000] = scale * block
        del rows
    done = subprocess.run(
        [sys.executable, "-c", IN_LITTLE_MEMORY, *ms_keras.__path__, *paths.values()],
        capture_output=True,
        text=True,
    )
    for path in paths.values():
        path.unlink()
    assert done.returncode == 0, done.stderr
    unit, no_copy, other, no_copy_either = done.stdout.splitlines()
    assert no_copy == no_copy_either == "no room for a copy"
    for line, shared in ((unit, "True"), (other, "False")):
        size, anonymous, shares = line.split()
        assert int(size) == 204_800_000
        assert int(anonymous) < 50_000_000
        assert shares == shared
