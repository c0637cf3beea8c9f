"""What is published of four benchmarks: splits, sizes, and the K of Recall@K."""

from __future__ import annotations

import dataclasses

import numpy as np

from ms_keras.data.protocol import ImageSet, Protocol


@dataclasses.dataclass(frozen=True)
class Size:
    """How many classes and images a side has."""

    classes: int
    images: int

    def __str__(self) -> str:
        return f"{self.classes} classes with {self.images} images"


@dataclasses.dataclass(frozen=True)
class Published:
    """A benchmark's way of training and scoring, as papers report it.

    Attributes:
        ks: The K of Recall@K.
        train: Size of the training side.
        test: Size of the test side, the queries.
        gallery: Size of what queries are searched in; `None` for the other queries.
        train_classes: Of the classes in order, how many train, where the data set's own
            splits are pooled and divided by class; `None` where its own splits stay.
    """

    ks: tuple[int, ...]
    train: Size
    test: Size
    gallery: Size | None = None
    train_classes: int | None = None

    @property
    def test_classes(self) -> str:
        """The positions of the test classes, as `--test_classes` has them, or empty."""
        if self.train_classes is None:
            return ""
        first = self.train_classes + 1
        return f"{first}-{self.train_classes + self.test.classes}"


PUBLISHED = {
    "cub200": Published(
        ks=(1, 2, 4, 8, 16, 32),
        train=Size(100, 5864),
        test=Size(100, 5924),
        train_classes=100,
    ),
    "cars196": Published(
        ks=(1, 2, 4, 8, 16, 32),
        train=Size(98, 8054),
        test=Size(98, 8131),
        train_classes=98,
    ),
    "sop": Published(
        ks=(1, 10, 100, 1000), train=Size(11318, 59551), test=Size(11316, 60502)
    ),
    "inshop": Published(
        ks=(1, 10, 20, 30, 40, 50),
        train=Size(3997, 25882),
        test=Size(3985, 14218),
        gallery=Size(3985, 12612),
    ),
}


def check_sizes(name: str, protocol: Protocol, mend: str) -> None:
    """Refuses images that are not those of the published benchmark.

    Args:
        name: The benchmark.
        protocol: What was found of it.
        mend: What to do if it is something else.

    Raises:
        ValueError: If a side has other numbers of classes or images than published.
    """
    expected = _told(
        PUBLISHED[name].train, PUBLISHED[name].test, PUBLISHED[name].gallery
    )
    sides = (protocol.train, protocol.test, protocol.gallery)
    found = _told(*(None if side is None else _size(side) for side in sides))
    if found != expected:
        raise ValueError(
            f"--dataset={name} is not as published. Expected {expected}; found "
            f"{found}. {mend}"
        )


def _size(images: ImageSet) -> Size:
    return Size(len(np.unique(images.labels)), len(images))


def _told(train: Size | None, test: Size | None, gallery: Size | None) -> str:
    sides = {"train": train, "test": test, "gallery": gallery}
    return ", ".join(f"{side}: {size}" for side, size in sides.items() if size)
