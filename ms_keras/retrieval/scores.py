"""Scoring a protocol, and telling the result as a table and as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ms_keras.data.pipeline import UnreadableImages
from ms_keras.data.protocol import Protocol
from ms_keras.retrieval.embedding import Embedded, Model, embed
from ms_keras.retrieval.exact import best_positive_ranks, recall_of_ranks

TITLES = {
    "pixels": "raw pixels",
    "frozen": "frozen: tower before training",
    "frozen_features": "frozen: its pooled features",
    "trained": "trained",
}


@dataclasses.dataclass(frozen=True)
class Scores:
    """How well embeddings retrieve.

    Attributes:
        ranks: `[queries]` int64, the place of each query's best positive; 0 for a query
            without one.
        recall: Recall@K for each K of the protocol.
        num_gallery: Images that each query was searched in.
        num_skipped: Images left out because they cannot be read.
    """

    ranks: np.ndarray
    recall: dict[int, float]
    num_gallery: int
    num_skipped: int = 0

    @property
    def num_without_positive(self) -> int:
        """Queries with no other image of their class, left out of the recall."""
        return int(np.sum(self.ranks == 0))

    def counts(self) -> dict[str, int]:
        """Returns what was scored, for the report."""
        return {
            "num_queries": len(self.ranks),
            "num_without_positive": self.num_without_positive,
            "num_gallery": self.num_gallery,
            "num_skipped": self.num_skipped,
        }


@dataclasses.dataclass(frozen=True)
class Scored:
    """A protocol's test split, embedded and scored.

    Attributes:
        queries: The test images.
        gallery: What they were searched in; `None` for each other.
        scores: The scores per model.
    """

    queries: Embedded
    gallery: Embedded | None
    scores: dict[str, Scores]


def score_arrays(
    embeddings: np.ndarray,
    labels: np.ndarray,
    ks: Sequence[int],
    gallery: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
    num_skipped: int = 0,
) -> Scores:
    """Scores embeddings; arguments and errors are those of `recall_at_k`."""
    ranks = best_positive_ranks(embeddings, labels, gallery, gallery_labels)
    found_in = len(labels) - 1 if gallery is None else len(gallery)
    return Scores(ranks, recall_of_ranks(ranks, ks), found_in, num_skipped)


def score_protocol(
    models: Mapping[str, Model],
    protocol: Protocol,
    *,
    image_size: int,
    short_side: int,
    unreadable: UnreadableImages | None = None,
) -> Scored:
    """Embeds the protocol's test split with models and scores each of them.

    Arguments are those of `embed`, errors also those of `recall_at_k`.
    """
    sizes: dict[str, Any] = {"image_size": image_size, "short_side": short_side}
    sizes["unreadable"] = unreadable
    queries = embed(models, protocol.test, what="test images", **sizes)
    labels = protocol.test.labels[queries.indices]
    skipped = len(protocol.test) - len(labels)
    if protocol.gallery is None:
        scores = {
            name: score_arrays(rows, labels, protocol.ks, num_skipped=skipped)
            for name, rows in queries.rows.items()
        }
        return Scored(queries, None, scores)
    gallery = embed(models, protocol.gallery, what="gallery", **sizes)
    gallery_labels = protocol.gallery.labels[gallery.indices]
    skipped += len(protocol.gallery) - len(gallery_labels)
    scores = {
        name: score_arrays(
            rows, labels, protocol.ks, gallery.rows[name], gallery_labels, skipped
        )
        for name, rows in queries.rows.items()
    }
    return Scored(queries, gallery, scores)


def as_json(recall: Mapping[int, float]) -> dict[str, float]:
    """Returns a recall with string keys, as JSON has them."""
    return {str(k): value for k, value in recall.items()}


def table(report: Mapping[str, Any]) -> str:
    """Returns a report, in the form of `recall.json`, as lines of text."""
    rows = {"trained": report["recall"]}
    for name in ("frozen_features", "frozen", "pixels"):
        if report.get(f"{name}_recall"):
            rows[name] = report[f"{name}_recall"]
    width = max(len(TITLES[name]) for name in rows)
    header = "".join(f"{'R@' + k:>8}" for k in report["recall"])
    lines = [" " * width + header]
    for name, recall in reversed(rows.items()):
        cells = "".join(
            f"{100 * recall[k]:8.2f}" if k in recall else f"{'-':>8}"
            for k in report["recall"]
        )
        lines.append(f"{TITLES[name]:<{width}}{cells}")
    lines.append(
        f"{report['num_queries']} queries, each searched in {report['num_gallery']} "
        f"images; {report['num_without_positive']} queries without a positive and "
        f"{report['num_skipped']} unreadable images left out"
    )
    return "\n".join(lines)


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Writes JSON that is complete or absent, whenever the program is killed."""
    target = pathlib.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(beside, target)
