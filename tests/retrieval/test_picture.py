"""The picture of retrievals: which queries, framed how, and whole or absent."""

import matplotlib.figure
import numpy as np
import pytest
import tensorflow as tf
from matplotlib import pyplot
from matplotlib.colors import to_hex
from PIL import Image

from ms_keras.retrieval import picture
from ms_keras.retrieval.scores import score_protocol

SIZES = {"image_size": 32, "short_side": 32}


def first_channels(images):
    return tf.reduce_mean(images, [1, 2]) * [1.0, 0.2, 0.0] - [120.0, 20.0, 0.0]


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draws a protocol and returns the path with the figure that was rendered."""
    figures = []
    canvas = picture.FigureCanvasAgg

    def remember(figure):
        figures.append(figure)
        return canvas(figure)

    monkeypatch.setattr(picture, "FigureCanvasAgg", remember)

    def draw(protocol, **options):
        scored = score_protocol({"model": first_channels}, protocol, **SIZES)
        path = tmp_path / "made" / "retrievals.png"
        picture.retrievals_picture(path, protocol, scored, "model", **options)
        return path, figures[-1], scored

    return draw


def frames(axes):
    """Returns `right`, `wrong` or None for each axes that shows an image."""
    kinds = {picture.RIGHT: "right", picture.WRONG: "wrong"}
    shown = [axis for axis in axes if axis.images]
    return [kinds.get(to_hex(axis.spines["left"].get_edgecolor())) for axis in shown]


def rows_of(figure):
    blocks = [part.axes for part in figure.subfigs]
    width = 9
    return [b[i : i + width] for b in blocks for i in range(0, len(b), width)]


@pytest.mark.parametrize("gallery", [None, (0, 1, 1, 2, 3)])
def test_neighbours_are_framed_by_whether_they_share_the_class(
    drawn, make_protocol, gallery
):
    protocol = make_protocol(gallery=gallery)
    path, figure, scored = drawn(protocol, rows=3)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert min(image.size) > 500
    rows = rows_of(figure)
    assert len(rows) == 6
    worst = np.sort(scored.scores["model"].ranks)[::-1][:3]
    for row, rank in zip(rows, worst, strict=False):
        assert row[0].get_title() == f"first right: {rank}"
    for row in rows:
        query, *found = frames(row)
        assert query is None
        rank = int(row[0].get_title().split()[-1])
        assert found.index("right") <= rank - 1  # ties count against the query
        for axis, kind in zip(row[1:], found, strict=False):
            assert (axis.get_xlabel() == row[0].get_xlabel()) == (kind == "right")
            assert bool(axis.lines) == (kind == "wrong")  # a cross beside the colour
        similarities = [float(axis.get_title()) for axis in row[1 : 1 + len(found)]]
        assert similarities == sorted(similarities, reverse=True)


def test_a_query_does_not_find_itself(drawn, make_protocol):
    _, figure, _ = drawn(make_protocol(labels=(0, 0, 1, 1)), rows=2)
    for row in rows_of(figure):
        assert len(frames(row)) == 1 + 3


def test_names_are_shortened_and_never_read_as_formulas(drawn, make_protocol):
    path, figure, _ = drawn(make_protocol(labels=(0, 0, 1)), rows=2)
    names = {axis.get_xlabel() for row in rows_of(figure) for axis in row}
    assert "a $very$ long name…" in names
    assert path.exists()


def test_the_same_seed_draws_the_same_queries(drawn, make_protocol):
    protocol = make_protocol(labels=np.repeat(range(4), 4))
    pictures = []
    for seed in (1, 1, 2):
        path, _, _ = drawn(protocol, rows=2, seed=seed)
        pictures.append(path.read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]


def test_a_picture_that_cannot_be_finished_leaves_the_old_one(
    drawn, make_protocol, monkeypatch
):
    path, _, _ = drawn(make_protocol(), rows=1)
    before = path.read_bytes()

    def fail(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(matplotlib.figure.Figure, "draw", fail)
    with pytest.raises(OSError, match="No space"):
        drawn(make_protocol(), rows=1)
    assert path.read_bytes() == before


def test_drawing_leaves_no_figure_in_the_global_state(drawn, make_protocol):
    drawn(make_protocol(), rows=1)
    assert pyplot.get_fignums() == []
