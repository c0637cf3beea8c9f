"""A picture of queries with their nearest neighbours, right and wrong."""

from __future__ import annotations

import os
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ms_keras.data.images import decode_for_scoring
from ms_keras.data.protocol import ImageSet, Protocol
from ms_keras.retrieval.exact_search import ExactSearcher
from ms_keras.retrieval.scores import Scored
from ms_keras.retrieval.searcher import NOBODY

RIGHT, WRONG = "#1a7f37", "#cf222e"
_NEIGHBOURS = 8
_NAME_LENGTH = 20  # characters of a class name that fit under an image
_PIXELS = 128
_TITLE, _ROW = 0.65, 1.45  # inches


def retrievals_picture(
    path: str | os.PathLike[str],
    protocol: Protocol,
    scored: Scored,
    model: str,
    rows: int = 6,
    seed: int = 0,
) -> None:
    """Draws the worst queries and random ones with what they find.

    A right neighbour has a solid green frame, a wrong one a dashed red frame and a
    cross. The worst queries are those whose first right neighbour comes last.

    Args:
        path: The PNG file to write.
        protocol: Whose test split was scored.
        scored: The result.
        model: Which of the scored models to show.
        rows: Queries of each kind. Defaults to `6`.
        seed: Seed of the random choice. Defaults to `0`.
    """
    ranks = scored.scores[model].ranks
    answerable = np.flatnonzero(ranks)
    worst = answerable[np.argsort(-ranks[answerable], kind="stable")][:rows]
    rng = np.random.default_rng(seed)
    random = rng.permutation(answerable)[:rows]
    blocks = [("Worst queries", worst), ("Random queries", random)]
    found = iter(_retrievals(np.concatenate([worst, random]), protocol, scored, model))

    heights = [_TITLE + _ROW * len(queries) for _, queries in blocks]
    figure = Figure(figsize=(1.3 * (_NEIGHBOURS + 1), sum(heights)), dpi=110)
    parts = np.ravel(figure.subfigures(len(blocks), 1, height_ratios=heights))
    for part, (title, queries), height in zip(parts, blocks, heights, strict=True):
        part.suptitle(
            f"{title}: query on the left, nearest neighbours by falling similarity",
            x=0.01, y=1 - 0.1 / height, ha="left", va="top", fontsize=11,
            fontweight="bold",
        )  # fmt: skip
        margins = {
            "left": 0.01, "right": 0.99, "wspace": 0.12, "hspace": 0.4,
            "bottom": 0.25 / height, "top": 1 - _TITLE / height,
        }  # fmt: skip
        axes = part.subplots(
            len(queries), _NEIGHBOURS + 1, squeeze=False, gridspec_kw=margins
        )
        for line in axes:
            _draw_row(list(line), protocol, next(found))
    _write_png(pathlib.Path(path), figure)


class _Retrieval(NamedTuple):
    """A query and what it finds: indices into the protocol's images."""

    query: int
    rank: int
    neighbours: list[int]
    similarities: list[float]


def _retrievals(
    chosen: np.ndarray, protocol: Protocol, scored: Scored, model: str
) -> list[_Retrieval]:
    references = scored.gallery or scored.queries
    found, similarities = (
        ExactSearcher()
        .index(references.rows[model])
        .search(
            scored.queries.rows[model][chosen],
            _NEIGHBOURS,
            exclude=chosen if scored.gallery is None else None,
        )
    )
    queries = scored.queries.indices[chosen].tolist()
    ranks = scored.scores[model].ranks[chosen].tolist()
    neighbours = [references.indices[row[row != NOBODY]].tolist() for row in found]
    columns = (queries, ranks, neighbours, similarities.tolist())
    return [_Retrieval(*row) for row in zip(*columns, strict=True)]


def _draw_row(axes: list[Axes], protocol: Protocol, found: _Retrieval) -> None:
    images = protocol.gallery or protocol.test
    label = protocol.test.labels[found.query]
    _draw_image(axes[0], protocol.test, found.query, f"first right: {found.rank}")
    for axis in axes[1 + len(found.neighbours) :]:
        axis.set_axis_off()
    neighbours = zip(found.neighbours, found.similarities, strict=False)
    for axis, (index, similarity) in zip(axes[1:], neighbours, strict=False):
        _draw_image(axis, images, index, f"{similarity:.3f}")
        _frame(axis, right=images.labels[index] == label)


def _draw_image(axis: Axes, images: ImageSet, index: int, note: str) -> None:
    encoded = images.read(tf.constant(index, tf.int64))
    pixels = decode_for_scoring(encoded, _PIXELS, _PIXELS).numpy()
    axis.imshow(np.clip(pixels / 255, 0, 1))
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title(note, fontsize=7, pad=3)
    name = _shortened(images.class_names[images.labels[index]].replace("_", " "))
    # A name may hold dollars, which would begin a formula.
    axis.set_xlabel(name, fontsize=7, labelpad=3, parse_math=False)


def _shortened(name: str) -> str:
    if len(name) <= _NAME_LENGTH:
        return name
    return name[: _NAME_LENGTH - 1].rstrip() + "…"


def _frame(axis: Axes, right: bool) -> None:
    for spine in axis.spines.values():
        spine.set(
            color=RIGHT if right else WRONG,
            linewidth=2.5,
            linestyle="solid" if right else (0, (3, 1.5)),
        )
    if not right:  # not by colour alone
        axis.plot(
            0.93, 0.93, marker="x", color=WRONG, markersize=8, markeredgewidth=2.5,
            transform=axis.transAxes,
        )  # fmt: skip


def _write_png(path: pathlib.Path, figure: Figure) -> None:
    """Writes a file that is complete or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    FigureCanvasAgg(figure).print_png(str(beside))
    os.replace(beside, path)
