"""Which folder is the next version."""

import pytest

from ms_keras.serving.versions import next_version


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
