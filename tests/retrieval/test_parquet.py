"""Embeddings in Parquet: what comes back, what is refused, and the memory it takes."""

import subprocess
import sys

import numpy as np
import pytest

import ms_keras
from ms_keras.retrieval.saved_arrays import load_arrays

# Its newest releases do not load beside NumPy 1.
pa = pytest.importorskip("pyarrow", exc_type=ImportError)
pq = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)

ROWS = np.arange(12, dtype=np.float32).reshape(6, 2)
LABELS = ["a", "b", "a", "c", "b", "c"]
SPLIT = ["query", "gallery", "gallery", "query", "gallery", "query"]


def lists(rows=ROWS, type_=None):
    return pa.array([list(row) for row in rows], type_ or pa.list_(pa.float32()))


def write(path, embedding=None, label=LABELS, row_group_size=4, **others):
    columns = {"embedding": lists() if embedding is None else embedding, "label": label}
    table = pa.table({k: v for k, v in {**columns, **others}.items() if v is not None})
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def in_parts(folder, **columns):
    for part, rows in (("part-1", slice(4, 6)), ("part-0", slice(0, 4))):
        some = {name: values[rows] for name, values in columns.items()}
        write(folder / f"{part}.parquet", **some)
    (folder / "_SUCCESS").touch()
    (folder / "_metadata.parquet").touch()
    return folder


@pytest.mark.parametrize("precision", [16, 32, 64])
@pytest.mark.parametrize("form", ["list", "large_list", "fixed"])
def test_rows_come_back_in_their_precision(tmp_path, precision, form, monkeypatch):
    monkeypatch.setattr("ms_keras.retrieval.parquet._BLOCK_ENTRIES", 6)
    dtype = np.dtype(f"f{precision // 8}")
    number = pa.from_numpy_dtype(dtype)
    type_ = {
        "list": pa.list_(number),
        "large_list": pa.large_list(number),
        "fixed": pa.list_(number, 2),
    }[form]
    path = write(tmp_path / "rows.parquet", lists(ROWS.astype(dtype), type_))
    arrays = load_arrays(path)
    assert arrays.embeddings.dtype == dtype
    np.testing.assert_array_equal(arrays.embeddings, ROWS)
    np.testing.assert_array_equal(arrays.labels, LABELS)
    assert arrays.gallery is arrays.gallery_labels is None


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        (pa.array([5, 0, -3, 7, 0, 5], pa.int16()), "i"),
        (pa.array([0, 1, 2**64 - 1, 2**64 - 2, 1, 0], pa.uint64()), "i"),
        (pa.array(LABELS, pa.large_string()), "U"),
        (pa.array(LABELS).dictionary_encode(), "U"),
        (pa.array([7, 8, 7, 9, 9, 8]).dictionary_encode(), "i"),
        (pa.array(["", "é", "日本", "é", "", "a longer name"]), "U"),
    ],
)
def test_labels_come_back_as_integers_or_strings(tmp_path, label, kind, monkeypatch):
    monkeypatch.setattr("ms_keras.retrieval.parquet._LABELS", 4)
    labels = load_arrays(write(tmp_path / "rows.parquet", label=label)).labels
    assert labels.dtype.kind == kind
    expected = label.to_pylist()
    if kind == "i":
        expected = [x - 2**64 if x >= 2**63 else x for x in expected]
    assert labels.tolist() == expected


@pytest.mark.parametrize("parts", [False, True])
def test_split_parts_queries_from_the_gallery_in_order(tmp_path, parts, monkeypatch):
    monkeypatch.setattr("ms_keras.retrieval.parquet._BLOCK_ENTRIES", 6)
    columns = {"embedding": lists(), "label": LABELS, "split": SPLIT}
    if parts:
        path = in_parts(tmp_path, **columns)
    else:
        path = write(tmp_path / "rows.parquet", **columns)
    arrays = load_arrays(path)
    np.testing.assert_array_equal(arrays.embeddings, ROWS[[0, 3, 5]])
    np.testing.assert_array_equal(arrays.labels, ["a", "c", "c"])
    np.testing.assert_array_equal(arrays.gallery, ROWS[[1, 2, 4]])
    np.testing.assert_array_equal(arrays.gallery_labels, ["b", "a", "b"])


def test_parts_come_in_the_order_of_their_names_without_empty_ones(tmp_path):
    in_parts(tmp_path, embedding=lists(), label=LABELS)
    nothing = pa.array([], pa.null())
    write(tmp_path / "part-00.parquet", nothing, nothing)
    arrays = load_arrays(tmp_path)
    np.testing.assert_array_equal(arrays.embeddings, ROWS)
    np.testing.assert_array_equal(arrays.labels, LABELS)


def of(values, type_=None):
    return pa.array(values, type_ or pa.list_(pa.float32()))


PAIRS = [[1.0, 2.0]] * 6


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": None}, r"columns embedding and label.*got embedding\. Rename"),
        ({"embedding": of([1.0] * 6, pa.float32())}, "embedding must hold.*got float"),
        (
            {"embedding": of([[1, 2]] * 6, pa.list_(pa.int64()))},
            "got list.*int64.*Cast",
        ),
        ({"label": [0.5] * 6}, "label must hold integers or strings; got double. Cast"),
        ({"label": [b"x"] * 6}, "label must hold.*got binary"),
        ({"label": [None] * 6}, "label must hold.*got null"),
        ({"split": [0, 1] * 3}, "split must be there once.*got .*split: int64"),
        ({"embedding": of([*PAIRS[:5], None])}, "embedding, row 5 is null. Fill"),
        (
            {"embedding": of([*PAIRS[:5], None], pa.list_(pa.float32(), 2))},
            # pyarrow 25 and older refuse to read it.
            "embedding, row 5 is null. Fill|a list of fixed size that is null",
        ),
        (
            {"embedding": of([*PAIRS[:5], [1.0, None]])},
            "embedding, row 5 has a null at entry 1. Fill",
        ),
        ({"label": [*LABELS[:5], None]}, "label, row 5 is null. Fill it in or drop"),
        ({"split": [*SPLIT[:5], None]}, "split, row 5 is null"),
        (
            {"split": [*SPLIT[:5], "train"]},
            "split, row 5 must be query or gallery; got 'train'. Mend",
        ),
        ({"split": ["query"] * 6}, "needs both.*got query in all 6 rows. Leave"),
        ({"split": ["gallery"] * 6}, "needs both.*got gallery in all 6 rows"),
        (
            {"embedding": of([*PAIRS[:5], [1.0]])},
            "embedding, row 5 has 1 entries; the first row has 2. Give",
        ),
        ({"embedding": of([[]] * 6)}, "embedding, row 0 is an empty list. Give"),
    ],
)
def test_columns_that_cannot_be_used_are_named_with_the_mend(
    tmp_path, columns, message
):
    path = write(tmp_path / "rows.parquet", **columns)
    with pytest.raises(ValueError, match=message) as told:
        load_arrays(path)
    assert str(told.value).startswith(str(path))


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "rows.parquet"
    names = ["embedding", "label", "label"]
    pq.write_table(pa.table([lists(), LABELS, LABELS], names=names), path)
    with pytest.raises(ValueError, match="once each; got embedding, label, label"):
        load_arrays(path)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"label": [0] * 6}, "got float32 embeddings, integers as labels and no split"),
        ({"embedding": of(PAIRS, pa.list_(pa.float64()))}, "got float64 embeddings"),
        ({"split": SPLIT}, "strings as labels and a split"),
        ({"embedding": of([[1.0]] * 6)}, "row 0 has 1 entries; the first row has 2"),
    ],
)
def test_parts_that_do_not_fit_each_other_are_named(tmp_path, other, message):
    write(tmp_path / "a.parquet")
    write(tmp_path / "b.parquet", **other)
    with pytest.raises(ValueError, match=rf"b\.parquet.*{message}"):
        load_arrays(tmp_path)


def test_no_rows_at_all_are_told_as_such(tmp_path):
    path = write(tmp_path / "none.parquet", lists([]), pa.array([], pa.string()))
    with pytest.raises(ValueError, match=r"none\.parquet has no rows"):
        load_arrays(path)


def test_npy_files_beside_parquet_are_ambiguous(tmp_path):
    write(tmp_path / "a.parquet")
    np.save(tmp_path / "embeddings.npy", ROWS)
    with pytest.raises(ValueError, match=r"\.npy files and \.parquet files"):
        load_arrays(tmp_path)


def test_damaged_files_are_told_or_read_but_never_break_off(tmp_path):
    whole = write(tmp_path / "rows.parquet").read_bytes()
    damaged = tmp_path / "damaged.parquet"
    rng = np.random.default_rng(0)
    flips = [bytearray(whole) for _ in range(100)]
    for flip in flips:
        flip[rng.integers(len(whole))] ^= int(rng.integers(1, 256))
    messages = []
    for content in (b"", b"hello", whole[:99], whole[99:], whole[:-9], *flips):
        damaged.write_bytes(content)
        try:
            load_arrays(damaged)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 5
    assert all(message.startswith(str(damaged)) for message in messages)


def test_pages_with_a_checksum_tell_flipped_numbers(tmp_path):
    path = tmp_path / "rows.parquet"
    table = pa.table({"embedding": lists(), "label": LABELS})
    pq.write_table(
        table, path, write_page_checksum=True, compression="none", use_dictionary=False
    )
    flipped = bytearray(path.read_bytes())
    flipped[flipped.index(ROWS.tobytes()) + 5] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match=r"damaged.*Write it anew"):
        load_arrays(path)


# One row group, so that reading by row groups alone would not be enough.
READ = """
import pathlib, re, sys, types
import pyarrow.parquet

# Without TensorFlow, which the package imports.
for name, folder in ("ms_keras", ""), ("ms_keras.retrieval", "/retrieval"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [sys.argv[1] + folder]
from ms_keras.retrieval.saved_arrays import load_arrays

def memory(name):
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(name + r":\\s*(\\d+) kB", status)[1]) * 1024

load_arrays(sys.argv[2])
before = memory("RssAnon")
arrays = load_arrays(sys.argv[3])
print(arrays.embeddings.nbytes, memory("RssAnon") - before)
print(pyarrow.default_memory_pool().max_memory())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_100_mb_of_rows_take_less_than_60_mb_of_memory(tmp_path):
    block = np.random.default_rng(0).normal(size=(1000, 512)).astype(np.float32)
    numbers = pa.array(np.tile(block, (50, 1)).ravel())
    table = pa.table(
        {
            "embedding": pa.FixedSizeListArray.from_arrays(numbers, 512),
            "label": np.arange(50_000) % 999,
        }
    )
    large = tmp_path / "large.parquet"
    pq.write_table(
        table, large, row_group_size=50_000, use_dictionary=False, compression="none"
    )
    small = write(tmp_path / "small.parquet")
    done = subprocess.run(
        [sys.executable, "-c", READ, *ms_keras.__path__, small, large],
        capture_output=True,
        text=True,
    )
    large.unlink()
    assert done.returncode == 0, done.stderr
    size, stays, arrow = map(int, done.stdout.split())
    assert size == 102_400_000
    assert stays < 60_000_000
    assert arrow < 60_000_000
