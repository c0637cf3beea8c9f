"""Writing the page: complete or absent, an older one replaced.

Where the thumbnails lie: a page opened from a file may not fetch anything, but it may
hold text, and text costs little until it is asked for. So they are inside the page, as
chunks of base64 that nothing parses before a tile comes into view: one file to mail,
and no other that gets lost. That holds for up to `_INSIDE` of them: 49 MB, which
Chromium had ready for use after 0.7 s. Five times as many would be a burden to load, so
they are then JPEG files in a folder beside the page, read when a tile comes into view.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from ms_keras.data.protocol import Protocol
from ms_keras.retrieval.page.data import collect, embedded_sets
from ms_keras.retrieval.page.markup import CHUNK, IN_FOLDER, markup
from ms_keras.retrieval.page.thumbnails import thumbnails
from ms_keras.retrieval.scores import Scored

PAGE = "index.html"
_INSIDE = 12_000  # thumbnails
_BESIDE = "thumbnails-"


def write_page(
    directory: str | os.PathLike[str],
    protocol: Protocol,
    scored: Scored,
    report: Mapping[str, Any],
    model: str = "trained",
) -> pathlib.Path:
    """Writes a page with which a person judges a retrieval model.

    It shows scores, Recall@K over K, similarities of pairs, classes and confusions, and
    all queries with their nearest neighbours, to be filtered and sorted. It needs no
    network. With more than 12,000 images, thumbnails are files in a folder beside it.

    Args:
        directory: Where to write `index.html`; made if missing. An older page there is
            replaced once the new one is complete.
        protocol: Whose test split was scored.
        scored: The result.
        report: The scores in the form of `recall.json`; parts it lacks are not shown.
            Besides `protocol`, `recall`, the counts and the baselines' `..._recall` it
            may have `intervals`, `metrics` and `scann`.
        model: Which of the scored models to show. Defaults to `"trained"`.

    Returns:
        The path of the page.

    Raises:
        ValueError: If the model was not scored, or `scored` is of another protocol.
    """
    page = collect(protocol, scored, model)
    target = pathlib.Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    name = f"{_BESIDE}{uuid.uuid4().hex[:12]}"
    unfinished = target / f".{PAGE}.{name}"
    inside = len(page.labels) <= _INSIDE
    before, after = markup(page, scored, report, model, "" if inside else name)
    jpegs = _jpegs(protocol, scored)
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(before)
            if inside:
                file.writelines(_chunks(jpegs))
            else:
                _write_files(target / name, jpegs)
            file.write(after)
        # A page names its own folder, so it never shows another page's thumbnails.
        os.replace(unfinished, target / PAGE)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            unfinished.unlink()
        shutil.rmtree(target / name, ignore_errors=True)
        raise
    _remove_others(target, name)
    return target / PAGE


def _jpegs(protocol: Protocol, scored: Scored) -> Iterator[bytes]:
    """Yields a thumbnail per image of the page, empty where it cannot be read."""
    for (images, indices), what in zip(
        embedded_sets(protocol, scored), ("test images", "gallery"), strict=False
    ):
        yield from thumbnails(images, indices, what)


def _chunks(jpegs: Iterator[bytes]) -> Iterator[str]:
    """Yields elements that hold some thumbnails each, as a JSON list of base64."""
    texts = (base64.b64encode(jpeg).decode("ascii") for jpeg in jpegs)
    while some := list(itertools.islice(texts, CHUNK)):
        yield (
            '<script type="application/json" class="thumbnails">'
            f"{json.dumps(some)}</script>\n"
        )


def _write_files(folder: pathlib.Path, jpegs: Iterator[bytes]) -> None:
    for number, jpeg in enumerate(jpegs):
        part = folder / str(number // IN_FOLDER)
        if number % IN_FOLDER == 0:
            part.mkdir(parents=True)
        if jpeg:
            (part / f"{number}.jpg").write_bytes(jpeg)


def _remove_others(directory: pathlib.Path, name: str) -> None:
    """Removes the folders of older pages, and what a killed program left."""
    for older in directory.glob(f"{_BESIDE}*"):
        if older.name != name:
            shutil.rmtree(older)
    for unfinished in directory.glob(f".{PAGE}.{_BESIDE}*"):
        unfinished.unlink()
