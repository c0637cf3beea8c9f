"""What approximate search finds, how long it takes, and how far off it is."""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ms_keras.retrieval.exact_search import ExactSearcher
from ms_keras.retrieval.inputs import check_ks
from ms_keras.retrieval.ranks import TIE
from ms_keras.retrieval.recall import recall_of_ranks
from ms_keras.retrieval.scann_search import ScannSearcher
from ms_keras.retrieval.scann_settings import ScannSettings
from ms_keras.retrieval.searcher import NOBODY, Neighbours
from ms_keras.retrieval.task import Task, as_task, check_answerable
from ms_keras.retrieval.wilson import Z, wilson_interval


class Estimate(NamedTuple):
    """A number estimated from a sample, and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class ExactCheck:
    """How approximate search is held against exact search.

    Attributes:
        sample: Queries that are searched exactly as well. Defaults to 1,000.
        seed: Of the choice of those queries. Defaults to 0.
        tolerance: Difference of a Recall@K, as a share, that goes without a warning.
            Defaults to 0.001, a tenth of a point.

    Raises:
        ValueError: If the sample is below 1 or the tolerance below 0.
    """

    sample: int = 1000
    seed: int = 0
    tolerance: float = 0.001

    def __post_init__(self) -> None:
        if self.sample < 1 or not self.tolerance >= 0:
            raise ValueError(
                "The check needs a sample of 1 or more and a tolerance of 0 or more; "
                f"got sample={self.sample} and tolerance={self.tolerance}."
            )


@dataclasses.dataclass(frozen=True)
class ScannReport:
    """Recall@K by ScaNN and its error.

    Attributes:
        recall: Recall@K by ScaNN, of all queries that have a positive.
        exact: Recall@K by exact search, of the sample, for the queries it stands for.
        difference: ScaNN's Recall@K less the exact one, both of the sample; the
            interval is that of paired shares.
        overlap: Mean share of the exact nearest, as many as the largest K, that ScaNN
            found; of the sample.
        num_queries: How many were searched by ScaNN.
        num_without_positive: How many of them have no positive; left out above.
        num_sample: How many were searched exactly.
        num_gallery: Rows that each query was searched in.
        build_seconds: What the index took.
        query_seconds: What the search of all queries took.
        settings: What ScaNN did.
        tolerance: The difference that goes without a warning.
        ranks: `[queries]` int64 of `ranks_of_found`, of which `recall` is made.
    """

    recall: dict[int, float]
    exact: dict[int, Estimate]
    difference: dict[int, Estimate]
    overlap: float
    num_queries: int
    num_without_positive: int
    num_sample: int
    num_gallery: int
    build_seconds: float
    query_seconds: float
    settings: ScannSettings
    tolerance: float
    ranks: np.ndarray = dataclasses.field(repr=False, compare=False)

    @property
    def is_off(self) -> bool:
        """Whether a difference exceeds the tolerance."""
        # One query of a thousand is no more than a tolerance of 0.001.
        allowed = self.tolerance + 1e-9
        return any(abs(found.value) > allowed for found in self.difference.values())

    def as_json(self) -> dict[str, Any]:
        """Returns the report in plain types; the Ks are strings, as JSON has them.

        The ranks are left out: there may be millions of them.
        """
        content = dataclasses.asdict(self)
        del content["ranks"]
        content["recall"] = _string_keys(self.recall)
        for name in ("exact", "difference"):
            estimates = {k: e._asdict() for k, e in getattr(self, name).items()}
            content[name] = _string_keys(estimates)
        return content | {"is_off": self.is_off, "settings": self.settings.as_json()}

    def lines(self) -> list[str]:
        """Returns the report as lines for a terminal; shares are in percent."""
        lines = [f"{'K':>6}{'ScaNN':>9}{'exact on a sample':>25}{'difference':>25}"]
        for k, recall in self.recall.items():
            exact, off = _percent(self.exact[k], ""), _percent(self.difference[k], "+")
            lines.append(f"{k:>6}{100 * recall:>9.2f}{exact:>25}{off:>25}")
        per_query = 1e6 * self.query_seconds / self.num_queries
        lines += [
            f"ScaNN found {100 * self.overlap:.2f} % of the {max(self.recall)} nearest "
            f"that exact search finds; sample of {self.num_sample} queries, 95 % "
            "intervals in brackets",
            f"index built in {self.build_seconds:.1f} s; {self.num_queries} queries, "
            f"each in {self.num_gallery} rows, in {self.query_seconds:.1f} s, "
            f"{per_query:.0f} microseconds each",
            f"settings: {_told(self.settings)}",
        ]
        return lines


def approximate_recall(
    embeddings: np.ndarray,
    labels: np.ndarray,
    ks: Sequence[int] = (1, 2, 4, 8),
    gallery: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
    settings: ScannSettings | None = None,
    check: ExactCheck | None = None,
) -> ScannReport:
    """Returns Recall@K by ScaNN, checked against exact search of a sample.

    A negative as similar as the best positive is ahead of it, as in `recall_at_k`; if
    such ties run on behind the neighbours searched for, they count against the query.
    Warns if the difference exceeds the tolerance, with what would lessen it.

    Args:
        embeddings: `[queries, dim]` numbers of any precision.
        labels: `[queries]` integer class ids, or names.
        ks: The K to report. Defaults to `(1, 2, 4, 8)`.
        gallery: `[gallery, dim]` numbers to search in. Defaults to `None`: each query
            is searched among the other queries.
        gallery_labels: `[gallery]` class ids or names. Defaults to `None`.
        settings: ScaNN's. Defaults to `None`: `choose_settings` for the gallery.
        check: The sample and the tolerance. Defaults to `None`: `ExactCheck()`.

    Raises:
        ValueError: As in `recall_at_k`, or if the package `scann` cannot be imported.
    """
    check_ks(ks)
    check = check or ExactCheck()
    task = as_task(embeddings, labels, gallery, gallery_labels)
    check_answerable(task.positives())
    k = max(int(k) for k in ks)
    searcher = ScannSearcher(settings, k)
    start = time.perf_counter()
    searcher.index(task.gallery)
    build_seconds = time.perf_counter() - start
    everything, own = task.only(np.arange(len(task.queries)))
    start = time.perf_counter()
    found = searcher.search(everything, k + 1, own)
    query_seconds = time.perf_counter() - start
    ranks = ranks_of_found(found, task, np.arange(len(task.queries)))
    recall = recall_of_ranks(ranks, ks)

    sample = task.sample(check.sample, check.seed)
    rows, own = task.only(sample)
    nearest = ExactSearcher().index(task.gallery).search(rows, k + 1, own)
    exact_ranks = ranks_of_found(nearest, task, sample)
    answerable = int(np.sum(ranks > 0))
    hits = {n: (ranks[sample] <= n, exact_ranks <= n) for n in recall}
    report = ScannReport(
        recall=recall,
        exact={n: share_interval(exact, answerable) for n, (_, exact) in hits.items()},
        difference={n: difference_interval(*h, answerable) for n, h in hits.items()},
        overlap=overlap(Neighbours(*(part[sample] for part in found)), nearest, k),
        num_queries=len(task.queries),
        num_without_positive=len(ranks) - answerable,
        num_sample=len(sample),
        num_gallery=len(task.gallery) - task.is_self,
        build_seconds=build_seconds,
        query_seconds=query_seconds,
        settings=searcher.settings,
        tolerance=check.tolerance,
        ranks=ranks,
    )
    if report.is_off:
        _warn(report, _advice(searcher, rows, own, nearest, k))
    return report


def ranks_of_found(found: Neighbours, task: Task, chosen: np.ndarray) -> np.ndarray:
    """Returns at which place each query has its first positive.

    Args:
        found: `[chosen, width]` neighbours.
        task: What was searched.
        chosen: `[chosen]` indices of the queries that were searched.

    Returns:
        `[chosen]` int64; `width` where it is there or behind or was not found, 0 for a
        query without a positive.
    """
    there = found.indices != NOBODY
    width = there.shape[1]
    same = there & (task.gallery_ids[found.indices] == task.ids[chosen, np.newaxis])
    best = np.where(same, found.similarities, -np.inf).max(axis=1, keepdims=True)
    ahead = there & ~same & (found.similarities >= best - TIE)
    tied = ahead & (found.similarities <= best + TIE)
    # A run of ties that reaches the last neighbour may go on with more negatives. If
    # it has had none so far, as where a class is one point, it need not have any.
    runs_on = there[:, -1] & (found.similarities[:, -1] >= best[:, 0] - TIE)
    unanswered = ~same.any(axis=1) | (runs_on & tied.any(axis=1))
    ranks = np.where(unanswered, width, 1 + ahead.sum(axis=1))
    return np.where(task.positives()[chosen] > 0, ranks, 0).astype(np.int64)


def overlap(found: Neighbours, nearest: Neighbours, k: int) -> float:
    """Returns the mean share of the k nearest that is among the first k found."""
    shares = []
    for ours, theirs in zip(found.indices[:, :k], nearest.indices[:, :k], strict=True):
        expected = theirs[theirs != NOBODY]
        shares.append(np.isin(expected, ours).mean() if len(expected) else 1.0)
    return float(np.mean(shares))


def share_interval(hits: np.ndarray, population: int) -> Estimate:
    """Returns the share of hits, with Wilson's interval.

    Args:
        hits: `[n]` bool of a sample drawn without repetition.
        population: How many it was drawn from; all of them leave no doubt.
    """
    share = float(np.mean(hits))
    if len(hits) >= population:
        return Estimate(share, share, share)
    # As many draws with repetition as would tell the same.
    size = len(hits) * (population - 1) / (population - len(hits))
    return Estimate(share, *wilson_interval(share, size))


def difference_interval(
    hits: np.ndarray, others: np.ndarray, population: int
) -> Estimate:
    """Returns by how much the share of hits exceeds the others' of the same sample.

    The interval is Wald's with half a pair added to each of the four outcomes (Agresti
    and Min, Statistics in Medicine 24, 2005), which does not shrink to nothing where
    all pairs of the sample agree.

    Args:
        hits: `[n]` bool of a sample drawn without repetition.
        others: `[n]` bool of the same queries.
        population: How many it was drawn from; all of them leave no doubt.
    """
    size = len(hits)
    gained, lost = int(np.sum(hits & ~others)), int(np.sum(others & ~hits))
    value = (gained - lost) / size
    if size >= population:
        return Estimate(value, value, value)
    centre = (gained - lost) / (size + 2)
    variance = (gained + lost + 1 - (gained - lost) ** 2 / (size + 2)) / (size + 2) ** 2
    half = Z * math.sqrt(variance * (population - size) / (population - 1))
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    return Estimate(value, min(low, value), max(high, value))


def _advice(
    searcher: ScannSearcher,
    rows: np.ndarray,
    own: np.ndarray | None,
    nearest: Neighbours,
    k: int,
) -> str:
    """Returns which parameter to raise: of those doubled, the one that finds more."""
    settings = searcher.settings
    doubled = {}
    if settings.leaves_to_search < settings.leaves:
        more = min(settings.leaves, 2 * settings.leaves_to_search)
        doubled["leaves_to_search"] = more
    if settings.reorder:
        doubled["reorder"] = 2 * settings.reorder
    if not doubled:
        return "Every row was compared: these are ties up to rounding. Use exact search"
    shares = {
        name: overlap(searcher.adjusted(**{name: v}).search(rows, k, own), nearest, k)
        for name, v in doubled.items()
    }
    best = max(shares, key=lambda name: shares[name])
    return (
        f"Raise {best}: {doubled[best]} instead of {getattr(settings, best)} finds "
        f"{100 * shares[best]:.2f} % of the nearest. Or let --tune choose, or use "
        "exact search"
    )


def _warn(report: ScannReport, advice: str) -> None:
    k = max(report.difference, key=lambda k: abs(report.difference[k].value))
    off = report.difference[k]
    warnings.warn(
        f"ScaNN's Recall@{k} is off by {_percent(off, '+')} points on "
        f"{report.num_sample} queries, more than {100 * report.tolerance:g}; it finds "
        f"{100 * report.overlap:.2f} % of the nearest. {advice}.",
        stacklevel=3,
    )


def _percent(estimate: Estimate, sign: str) -> str:
    value, low, high = (f"{100 * number:{sign}.2f}" for number in estimate)
    return f"{value} [{low}, {high}]"


def _told(settings: ScannSettings) -> str:
    if settings.is_brute_force:
        return "brute force"
    return ", ".join(f"{name}={value}" for name, value in settings.as_json().items())


def _string_keys(values: Mapping[int, Any]) -> dict[str, Any]:
    return {str(k): value for k, value in values.items()}
