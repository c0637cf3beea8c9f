"""Official archives of benchmarks, unpacked: their tables, and the protocol of them."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from ms_keras.data.files import file_set, missing_files
from ms_keras.data.protocol import ImageSet, Protocol

Images = list[tuple[str, str]]  # the path of each, and the name of its class


@dataclasses.dataclass(frozen=True)
class Lists:
    """Which images an archive has, by side; nobody has looked at the images yet.

    Attributes:
        train: Path and class of every image to train on.
        test: Of every query.
        gallery: Of every image to search in; `None` for the other queries.
    """

    train: Images
    test: Images
    gallery: Images | None = None


def divided_by_class(
    images: Sequence[tuple[str, int, str]], train_classes: int
) -> Lists:
    """Returns lists in which the first classes train and the others test.

    Args:
        images: Path, class number from 1, and class name of each image.
        train_classes: How many classes train.
    """
    ordered = sorted(images, key=lambda image: image[1])
    return Lists(
        train=[
            (path, name) for path, number, name in ordered if number <= train_classes
        ],
        test=[(path, name) for path, number, name in ordered if number > train_classes],
    )


def lists_protocol(name: str, lists: Lists, ks: tuple[int, ...]) -> Protocol:
    """Returns the protocol of lists; classes are numbered as they first occur."""
    gallery = lists.gallery or []
    train_names, train_labels = _numbered(lists.train)
    names, labels = _numbered(lists.test + gallery)  # one numbering for both
    queries, others = np.split(labels, [len(lists.test)])
    return Protocol(
        name=name,
        train=_file_set(lists.train, train_labels, train_names),
        test=_file_set(lists.test, queries, names),
        gallery=None
        if lists.gallery is None
        else _file_set(lists.gallery, others, names),
        ks=ks,
    )


def check_files(lists: Lists) -> None:
    """Refuses lists of images that are not there.

    Raises:
        ValueError: If images are missing; names the first.
    """
    images = lists.train + lists.test + (lists.gallery or [])
    paths = [path for path, _ in images]
    missing = missing_files(paths)
    if missing:
        raise ValueError(
            f"{len(missing)} of the {len(paths)} images listed do not exist, first "
            f"{', '.join(missing[:3])}. Unpack the official archive completely."
        )


def require(path: pathlib.Path, layout: str) -> pathlib.Path:
    """Returns a path that exists.

    Raises:
        ValueError: If it does not; tells the layout that it is a part of.
    """
    if not path.exists():
        raise ValueError(f"{path} is missing. Expected layout: {layout}.")
    return path


def read_table(
    file: pathlib.Path, columns: Sequence[str], head: int = 0
) -> list[list[str]]:
    """Returns the rows of a text file whose columns white space divides.

    Args:
        file: The file; its lines may end as on Windows.
        columns: What the columns are called.
        head: The number of the line that names the columns, the last one before the
            rows; 0 if there is none.

    Raises:
        ValueError: If a line has other columns.
    """
    expected = " ".join(columns)
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    named = lines[head - 1].split() if 0 < head <= len(lines) else []
    if head and named != list(columns):
        raise ValueError(
            f"{file}, line {head}: expected the names of the columns, `{expected}`; "
            f"got {' '.join(named)!r}. Take the official file as it is."
        )
    rows = []
    for number, line in enumerate(lines[head:], start=head + 1):
        row = line.split()
        if row and len(row) != len(columns):
            raise ValueError(
                f"{file}, line {number}: expected `{expected}`; got {line!r}. Take the "
                "official file as it is."
            )
        if row:
            rows.append(row)
    return rows


def _numbered(images: Images) -> tuple[list[str], np.ndarray]:
    ids: dict[str, int] = {}
    labels = [ids.setdefault(name, len(ids)) for _, name in images]
    return list(ids), np.array(labels, np.int64)


def _file_set(images: Images, labels: np.ndarray, names: list[str]) -> ImageSet:
    return file_set([path for path, _ in images], labels, names)
