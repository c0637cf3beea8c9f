"""A picture of queries with their nearest neighbours, right and wrong."""

from __future__ import annotations

import os
import pathlib
import textwrap

import numpy as np
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ms_keras.data.images import decode_for_scoring
from ms_keras.data.protocol import ImageSet, Protocol
from ms_keras.retrieval.exact import nearest
from ms_keras.retrieval.scores import Scored

RIGHT, WRONG = "#1a7f37", "#cf222e"
_NEIGHBOURS = 8
_PIXELS = 128


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

    height = sum(1.45 * len(queries) + 0.6 for _, queries in blocks)
    figure = Figure(figsize=(1.3 * (_NEIGHBOURS + 1) + 0.4, height), dpi=110)
    parts = np.ravel(
        figure.subfigures(len(blocks), 1, height_ratios=[len(q) for _, q in blocks])
    )
    for part, (title, queries) in zip(parts, blocks, strict=True):
        part.suptitle(
            f"{title}: query on the left, nearest neighbours by falling similarity",
            x=0.01,
            ha="left",
            fontsize=11,
            fontweight="bold",
        )
        axes = part.subplots(
            len(queries),
            _NEIGHBOURS + 1,
            squeeze=False,
            gridspec_kw={
                "left": 0.01, "right": 0.99, "bottom": 0.01, "wspace": 0.12,
                "top": 1 - 0.38 / (1.45 * len(queries) + 0.6), "hspace": 0.42,
            },
        )  # fmt: skip
        for line, query in zip(axes, queries, strict=True):
            _draw_row(list(line), protocol, scored, model, int(query))
    beside = pathlib.Path(path).with_suffix(".incomplete.png")
    FigureCanvasAgg(figure).print_png(str(beside))
    os.replace(beside, path)


def _draw_row(
    axes: list[Axes], protocol: Protocol, scored: Scored, model: str, query: int
) -> None:
    alone = scored.gallery is None
    references = scored.queries if scored.gallery is None else scored.gallery
    images = protocol.test if protocol.gallery is None else protocol.gallery
    found, similarities = nearest(
        scored.queries.rows[model][query : query + 1],
        references.rows[model],
        _NEIGHBOURS,
        exclude=np.array([query]) if alone else None,
    )
    index = int(scored.queries.indices[query])
    label = protocol.test.labels[index]
    rank = scored.scores[model].ranks[query]
    _draw_image(axes[0], protocol.test, index, f"first right: {rank}")
    for place, axis in enumerate(axes[1:]):
        if place >= found.shape[1]:
            axis.set_axis_off()
            continue
        reference = int(references.indices[found[0, place]])
        _draw_image(axis, images, reference, f"{similarities[0, place]:.3f}")
        _frame(axis, right=images.labels[reference] == label)


def _draw_image(axis: Axes, images: ImageSet, index: int, note: str) -> None:
    encoded = images.read(tf.constant(index, tf.int64))
    pixels = decode_for_scoring(encoded, _PIXELS, _PIXELS).numpy()
    axis.imshow(np.clip(pixels / 255, 0, 1))
    axis.set_xticks([])
    axis.set_yticks([])
    name = images.class_names[images.labels[index]].replace("_", " ")
    axis.set_title(note, fontsize=7, pad=2)
    axis.set_xlabel(textwrap.shorten(name, 22, placeholder="…"), fontsize=7, labelpad=2)


def _frame(axis: Axes, right: bool) -> None:
    for spine in axis.spines.values():
        spine.set(
            color=RIGHT if right else WRONG,
            linewidth=3,
            linestyle="solid" if right else (0, (2, 1)),
        )
    if not right:  # not by colour alone
        axis.plot(
            0.93, 0.93, marker="x", color=WRONG, markersize=8, markeredgewidth=2.5,
            transform=axis.transAxes,
        )  # fmt: skip
