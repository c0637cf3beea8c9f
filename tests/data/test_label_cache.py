"""Labels are read once, whatever happens to the file that keeps them."""

import numpy as np

from ms_keras.data.label_cache import cached_labels

LABELS = np.array([3, 1, 2], np.int64)


class Reader:
    """Counts the passes over the records."""

    def __init__(self, labels=LABELS):
        self.labels, self.passes = labels, 0

    def __call__(self):
        self.passes += 1
        return self.labels


def labels_of(folder, reader, *key, count=3):
    labels = cached_labels(folder, key or ("a", 1), count, reader)
    np.testing.assert_array_equal(labels, reader.labels)
    assert labels.dtype == np.int64
    return reader.passes


def test_a_second_start_reads_nothing(tmp_path):
    reader = Reader()
    assert [labels_of(tmp_path, reader) for _ in range(3)] == [1, 1, 1]
    assert len(list(tmp_path.iterdir())) == 1


def test_another_key_is_read_anew(tmp_path):
    labels_of(tmp_path, Reader(), "a", 1)
    assert labels_of(tmp_path, Reader(LABELS + 1), "a", 2) == 1
    assert labels_of(tmp_path, Reader(), "a", 1) == 0


def test_a_damaged_file_is_replaced(tmp_path):
    labels_of(tmp_path, Reader())
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for damaged in (b"", whole[:20], whole[:-4], b"no array" * 9):
        file.write_bytes(damaged)
        assert labels_of(tmp_path, Reader()) == 1
        assert file.read_bytes() == whole


def test_labels_of_another_number_or_kind_are_not_taken(tmp_path):
    labels_of(tmp_path, Reader())
    (file,) = tmp_path.iterdir()
    for other in (LABELS[:2], LABELS.astype(float), LABELS[:, np.newaxis]):
        np.save(file, other)
        assert labels_of(tmp_path, Reader()) == 1


def test_where_nothing_can_be_written_labels_are_read_each_time(tmp_path):
    reader = Reader()
    assert [labels_of(tmp_path / "missing", reader) for _ in range(2)] == [1, 2]
    (tmp_path / "file").touch()
    assert labels_of(tmp_path / "file", reader) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_start_that_fails_half_way_leaves_no_file(tmp_path, monkeypatch):
    def full(stream, labels):
        stream.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "save", full)
    assert labels_of(tmp_path, Reader()) == 1
    assert not list(tmp_path.iterdir())
