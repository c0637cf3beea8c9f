"""What the page shows of one model: neighbours, classes, confusions, sampled pairs."""

from __future__ import annotations

import dataclasses

import numpy as np

from ms_keras.data.protocol import ImageSet, Protocol
from ms_keras.retrieval.class_scores import (
    ClassRecall,
    Confusion,
    count_confusions,
    per_class_recall,
)
from ms_keras.retrieval.exact_search import ExactSearcher
from ms_keras.retrieval.page.pairs import Pairs, sample_pairs
from ms_keras.retrieval.scores import Scored
from ms_keras.retrieval.searcher import NOBODY

_NEIGHBOURS = 10


@dataclasses.dataclass(frozen=True)
class PageData:
    """What the page shows.

    Images are numbered as they were embedded: the queries, then the gallery if there is
    one. Classes are numbered in the order of their names, those without an image left
    out.

    Attributes:
        class_names: A name per class.
        labels: `[images]` int64 classes.
        image_names: A name per image.
        ranks: `[queries]` int64, the place of the first right neighbour; 0 for a query
            without one.
        neighbours: `[queries, k]` int64 images, nearest first; `NOBODY` behind the
            last.
        similarities: `[queries, k]` float32 cosines.
        class_recalls: The classes with something to find, worst first.
        confusions: Pairs of classes, the most confused first.
        pairs: Similarities of sampled pairs.
        skipped: Names of the images that were left out because they cannot be read.
    """

    class_names: list[str]
    labels: np.ndarray
    image_names: list[str]
    ranks: np.ndarray
    neighbours: np.ndarray
    similarities: np.ndarray
    class_recalls: list[ClassRecall]
    confusions: list[Confusion]
    pairs: Pairs
    skipped: list[str]


def collect(protocol: Protocol, scored: Scored, model: str) -> PageData:
    """Returns what the page shows of a model.

    Args:
        protocol: Whose test split was scored.
        scored: The result.
        model: Which of the scored models to show.

    Raises:
        ValueError: If the model was not scored.
    """
    if model not in scored.scores:
        raise ValueError(
            f"model must be one of those scored, {', '.join(sorted(scored.scores))}; "
            f"got {model!r}."
        )
    sets = embedded_sets(protocol, scored)
    class_names, labels = _classes(sets)
    queries = len(scored.queries.indices)
    own, others = labels[:queries], labels[queries:]
    rows = scored.queries.rows[model]
    gallery = None if scored.gallery is None else scored.gallery.rows[model]
    ranks = scored.scores[model].ranks
    neighbours, similarities = _neighbours(rows, gallery)
    names = [images.image_name(int(i)) for images, indices in sets for i in indices]
    instead = _found_instead(ranks, own, neighbours, labels)
    return PageData(
        class_names=class_names,
        labels=labels,
        image_names=_without_common_folder(names),
        ranks=ranks,
        neighbours=neighbours,
        similarities=similarities,
        class_recalls=per_class_recall(ranks, own),
        confusions=count_confusions(own, instead, ranks > 0),
        pairs=sample_pairs(rows, own, gallery, None if gallery is None else others),
        skipped=[name for images, there in sets for name in _skipped(images, there)],
    )


def embedded_sets(
    protocol: Protocol, scored: Scored
) -> list[tuple[ImageSet, np.ndarray]]:
    """Returns the image sets that were embedded, each with the indices of its images.

    Raises:
        ValueError: If `scored` has a gallery and the protocol has none.
    """
    sets = [(protocol.test, scored.queries.indices)]
    if scored.gallery is not None:
        if protocol.gallery is None:
            raise ValueError(
                "scored has a gallery, but the protocol has none. Pass the protocol "
                "that was scored."
            )
        sets.append((protocol.gallery, scored.gallery.indices))
    return sets


def _found_instead(
    ranks: np.ndarray,
    labels: np.ndarray,
    neighbours: np.ndarray,
    image_labels: np.ndarray,
) -> np.ndarray:
    """Returns which class each query finds in place of its own, -1 if it does not.

    They are those of `class_scores.confusions` but for ties, taken from the neighbours
    on the page: a chosen pair then shows as many queries as it counts, and no second
    search is needed.

    Args:
        ranks: `[queries]` integers, 0 for a query with nothing to find.
        labels: `[queries]` classes.
        neighbours: `[queries, k]` images, nearest first; `NOBODY` behind the last.
        image_labels: `[images]` classes.
    """
    found = image_labels[neighbours]
    wrong = (neighbours != NOBODY) & (found != labels[:, np.newaxis])
    nearest = found[np.arange(len(labels)), wrong.argmax(axis=1)]
    return np.where((ranks > 1) & wrong.any(axis=1), nearest, -1)


def _classes(sets: list[tuple[ImageSet, np.ndarray]]) -> tuple[list[str], np.ndarray]:
    """Returns the names of classes that have images, and `[images]` places in them."""
    given: np.ndarray = np.concatenate([images.labels[there] for images, there in sets])
    names: dict[int, str] = {}
    for images, there in sets:
        for label in np.unique(images.labels[there]).tolist():
            names.setdefault(label, images.class_names[label])
    by_name = sorted(names, key=lambda label: (names[label].casefold(), label))
    place = {label: i for i, label in enumerate(by_name)}
    labels = np.array([place[label] for label in given.tolist()], np.int64)
    return [names[label].replace("_", " ") for label in by_name], labels


def _neighbours(
    rows: np.ndarray, gallery: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns `[queries, k]` images and cosines."""
    if gallery is None:
        itself = np.arange(len(rows))
        return ExactSearcher().index(rows).search(rows, _NEIGHBOURS, itself)
    found = ExactSearcher().index(gallery).search(rows, _NEIGHBOURS)
    images = np.where(found.indices == NOBODY, NOBODY, found.indices + len(rows))
    return images, found.similarities


def _skipped(images: ImageSet, there: np.ndarray) -> list[str]:
    missing = np.setdiff1d(np.arange(len(images)), there)
    return [images.image_name(int(index)) for index in missing]


def _without_common_folder(names: list[str]) -> list[str]:
    """Returns names without the folders that begin all of them: they tell nothing."""
    shortest, longest = min(names), max(names)  # any common beginning is theirs
    same = 0
    for place, (one, other) in enumerate(zip(shortest, longest, strict=False)):
        if one != other:
            break
        if one in "/\\":
            same = place + 1
    return [name[same:] for name in names]
