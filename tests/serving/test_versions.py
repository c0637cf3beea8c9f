"""Which folder is the next version, and what becomes of those half-written."""

import os

import pytest

from ms_keras.serving import versions
from ms_keras.serving.versions import (
    check_base,
    complete_or_absent,
    finished,
    next_version,
    unfinished_folder,
)


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ([], "1"),
        (["1", "2", "10"], "11"),
        (["7"], "8"),
        ([".3.0f3c", "notes", "4.partial"], "1"),
    ],
)
def test_next_version_counts_numbered_folders_only(present, expected, tmp_path):
    for name in present:
        (tmp_path / name).mkdir()
    assert next_version(tmp_path).name == expected


def test_versions_go_into_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="--out must be a folder"):
        next_version(tmp_path / "file")


def test_where_nothing_can_be_written_is_told_and_nothing_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for base in ("file", "file/models/birds"):
        with pytest.raises(ValueError, match=r"must be a folder; .*file is a file"):
            check_base(tmp_path / base)
    check_base(tmp_path / "models/birds")
    # Not by its mode, which the super-user is not bound by.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ValueError, match="no permission to make anything"):
        check_base(tmp_path / "models/birds")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def make(base):
    with unfinished_folder(base, numbered=True) as unfinished:
        unfinished.mkdir()
        (unfinished / "mine").write_text("")
        return finished(unfinished, base, numbered=True)


def test_a_number_taken_at_the_last_moment_is_passed_over(tmp_path, monkeypatch):
    numbers = iter([tmp_path / "1", tmp_path / "2"])  # as if 1 had not been there yet
    monkeypatch.setattr(versions, "next_version", lambda base: next(numbers))
    (tmp_path / "1").mkdir()
    (tmp_path / "1/theirs").write_text("")
    assert make(tmp_path) == tmp_path / "2"
    assert [path.name for path in (tmp_path / "1").iterdir()] == ["theirs"]


def test_other_errors_of_naming_are_not_tried_again(tmp_path):
    with pytest.raises(FileNotFoundError):
        finished(tmp_path / "none", tmp_path, numbered=True)


def fail(base):
    with unfinished_folder(base, numbered=True) as unfinished:
        unfinished.mkdir()
        raise RuntimeError


def test_a_failure_leaves_no_folders_but_those_that_were_there(tmp_path):
    (tmp_path / "models").mkdir()
    with pytest.raises(RuntimeError):
        fail(tmp_path / "models/birds/small")
    assert list((tmp_path / "models").iterdir()) == []
    make(tmp_path / "models/birds")
    with pytest.raises(RuntimeError):
        fail(tmp_path / "models/birds")
    assert [path.name for path in (tmp_path / "models/birds").iterdir()] == ["1"]


def test_a_folder_made_meanwhile_is_left_alone(tmp_path):
    def write():
        with complete_or_absent(tmp_path / "kit") as unfinished:
            unfinished.mkdir()
            (tmp_path / "kit").mkdir()
            (tmp_path / "kit/theirs").write_text("")

    with pytest.raises(FileExistsError, match="exists already"):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ["kit"]
    assert [path.name for path in (tmp_path / "kit").iterdir()] == ["theirs"]
