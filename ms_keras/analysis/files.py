"""Pictures and numbers on disk, complete or absent, and the same every time."""

from __future__ import annotations

import contextlib
import csv
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives another name to write to, and renames the file if all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_csv(path: pathlib.Path, header: Sequence[str], rows: Iterable[tuple]) -> None:
    """Writes a table; floats with six significant digits."""
    with (
        replacing(path) as beside,
        beside.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in row])


def write_picture(stem: pathlib.Path, figure: Figure) -> None:
    """Writes a figure as PNG and as SVG, without date and random names.

    Args:
        stem: The files' path without suffix.
        figure: The figure.
    """
    with replacing(stem.with_name(stem.name + ".png")) as beside:
        FigureCanvasAgg(figure).print_png(str(beside), metadata={"Software": None})
    with (
        matplotlib.rc_context({"svg.hashsalt": stem.name}),
        replacing(stem.with_name(stem.name + ".svg")) as beside,
    ):
        FigureCanvasSVG(figure).print_svg(str(beside), metadata={"Date": None})
