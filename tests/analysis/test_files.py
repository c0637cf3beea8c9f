"""Files are complete or absent, and the same every time."""

import pytest
from matplotlib.figure import Figure

from ms_keras.analysis.files import write_csv, write_picture


def test_a_file_that_fails_leaves_the_old_one_and_no_rest(tmp_path):
    path = tmp_path / "made" / "numbers.csv"
    write_csv(path, ("a", "b"), [(1, 0.1234567891), ("x, y", 2.0)])
    assert path.read_text() == 'a,b\n1,0.123457\n"x, y",2\n'

    def rows():
        yield 3, 4
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_csv(path, ("a", "b"), rows())
    assert path.read_text().startswith("a,b")
    assert [found.name for found in path.parent.iterdir()] == ["numbers.csv"]


def test_pictures_are_the_same_every_time(tmp_path):
    def figure():
        made = Figure()
        axes = made.subplots()
        axes.plot([1, 2], [3, 4], marker="o", label="a line")
        axes.legend()
        return made

    for folder in ("one", "two"):
        write_picture(tmp_path / folder / "picture", figure())
    for name in ("picture.png", "picture.svg"):
        one, two = (
            (tmp_path / folder / name).read_bytes() for folder in ("one", "two")
        )
        assert one == two
    assert len(list((tmp_path / "one").iterdir())) == 2
