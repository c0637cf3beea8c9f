"""The cheapest of ScaNN's settings that find nearly all that exact search finds."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ms_keras.retrieval.exact_search import ExactSearcher
from ms_keras.retrieval.inputs import check_ks
from ms_keras.retrieval.scann_report import overlap, ranks_of_found
from ms_keras.retrieval.scann_search import ScannSearcher
from ms_keras.retrieval.scann_settings import (
    ScannSettings,
    choose_settings,
    fit_settings,
)
from ms_keras.retrieval.searcher import Neighbours
from ms_keras.retrieval.task import Task, as_task, check_answerable

_SHARES = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)  # of the leaves, searched
_CANDIDATES = (100, 200, 500, 1000, 2000)  # rescored, at least
_NO_MORE = 0.0005  # of the nearest; what is missed then lies in leaves not searched
_PER_NEIGHBOUR = 2  # fewer candidates than these leave hashing nothing to correct


@dataclasses.dataclass(frozen=True)
class TuningTarget:
    """What settings must reach, and on what it is measured.

    Attributes:
        k: Neighbours that are asked for. Defaults to 10.
        overlap: Mean share of the k nearest that must be found. Defaults to 0.99.
        difference: By how much Recall@1 may differ from the exact one, as a share.
            Defaults to 0.001.
        sample: Queries to measure on: one half to choose by, the other half to report.
            Defaults to 2,000.
        seed: Of the choice of those queries. Defaults to 0.

    Raises:
        ValueError: If a number is out of range.
    """

    k: int = 10
    overlap: float = 0.99
    difference: float = 0.001
    sample: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        check_ks([self.k])
        if not 0 <= self.overlap <= 1 or not self.difference >= 0 or self.sample < 2:
            raise ValueError(
                "A target needs an overlap from 0 to 1, a difference of 0 or more and "
                f"a sample of 2 or more; got {self}."
            )


@dataclasses.dataclass(frozen=True)
class Trial:
    """How settings did on queries.

    Attributes:
        settings: What ScaNN did.
        overlap: Mean share of the exact nearest that was found.
        difference: Recall@1 less the exact one.
        microseconds: Per query, all cores at work.
        is_enough: Whether the target was reached.
    """

    settings: ScannSettings
    overlap: float
    difference: float
    microseconds: float
    is_enough: bool

    def as_json(self) -> dict[str, Any]:
        """Returns the trial in plain types."""
        return dataclasses.asdict(self)

    def line(self) -> str:
        """Returns the trial as a line for a terminal."""
        settings = self.settings
        what = "brute force"
        if not settings.is_brute_force:
            searched = f"{settings.leaves_to_search}/{settings.leaves} leaves"
            what = f"{searched if settings.leaves else 'no leaves'}, "
            what += f"reorder {settings.reorder}"
        return (
            f"{what:<32} finds {100 * self.overlap:6.2f} %, Recall@1 "
            f"{100 * self.difference:+.2f}, {self.microseconds:7.0f} us per query"
            f"{'  enough' if self.is_enough else ''}"
        )


@dataclasses.dataclass(frozen=True)
class Tuned:
    """The settings chosen.

    Attributes:
        settings: The cheapest that reached the target; the best if none did.
        is_met: Whether they reached it, on the queries they were chosen by.
        held_out: How they did on the other half of the sample, with an index built
            anew, since no two are quite the same.
        trials: All that were tried, in the order of their trial.
    """

    settings: ScannSettings
    is_met: bool
    held_out: Trial
    trials: tuple[Trial, ...]

    def as_json(self) -> dict[str, Any]:
        """Returns all of it in plain types."""
        return dataclasses.asdict(self) | {"trials": [t.as_json() for t in self.trials]}

    def line(self) -> str:
        """Returns the choice as a line for a terminal."""
        chosen = "chosen" if self.is_met else "none is enough; the best"
        return f"{chosen}, on other queries: {self.held_out.line()}"


@dataclasses.dataclass(frozen=True)
class _Half:
    """Queries of one half of the sample, and what exact search finds for them."""

    chosen: np.ndarray
    nearest: Neighbours
    recall: float


def tune(
    embeddings: np.ndarray,
    labels: np.ndarray,
    gallery: np.ndarray | None = None,
    gallery_labels: np.ndarray | None = None,
    candidates: Sequence[ScannSettings] | None = None,
    target: TuningTarget | None = None,
    progress: Callable[[str], object] = print,
) -> Tuned:
    """Returns the cheapest settings that reach a target.

    Candidates that differ in leaves searched and reorder only share an index. One that
    looks at no less than another that was enough is not tried, nor one with more
    candidates where the last two numbers of them found the same.

    Args:
        embeddings: `[queries, dim]` numbers of any precision.
        labels: `[queries]` integer class ids, or names.
        gallery: `[gallery, dim]` numbers to search in. Defaults to `None`: each query
            is searched among the other queries.
        gallery_labels: `[gallery]` class ids or names. Defaults to `None`.
        candidates: Settings to try. Defaults to `None`: `tuning_candidates`.
        target: What to reach. Defaults to `None`: `TuningTarget()`.
        progress: Is given a line per trial and one for the choice. Defaults to `print`.

    Raises:
        ValueError: As in `recall_at_k`, if fewer than two queries have a positive,
            there are no candidates, or the package `scann` cannot be imported.
    """
    target = target or TuningTarget()
    task = as_task(embeddings, labels, gallery, gallery_labels)
    check_answerable(task.positives())
    count, dim = task.gallery.shape
    if candidates is None:
        candidates = tuning_candidates(count, dim, target.k)
    if not candidates:
        raise ValueError("There are no candidates to choose from; name one or more.")
    choosing, reporting = _halves(task, target)
    trials: list[Trial] = []
    for group in _same_index(fit_settings(settings, count) for settings in candidates):
        searcher = ScannSearcher(group[0], target.k).index(task.gallery)
        _measured(searcher, task, choosing, target)  # the first search is slower
        for settings in group:
            if any(_looks_at_no_less(settings, trial) for trial in trials):
                continue
            if _is_exhausted(settings, trials[-2:]):
                continue
            adjusted = _adjusted(searcher, settings)
            trials.append(_measured(adjusted, task, choosing, target))
            progress(trials[-1].line())
    best = _best(trials)
    held_out = _measured(
        ScannSearcher(best.settings, target.k).index(task.gallery),
        task,
        reporting,
        target,
    )
    tuned = Tuned(best.settings, best.is_enough, held_out, tuple(trials))
    progress(tuned.line())
    return tuned


def tuning_candidates(count: int, dim: int, k: int) -> list[ScannSettings]:
    """Returns settings for a gallery from the hastiest to brute force.

    With about `sqrt(count)` leaves, of which 5 % to all are searched, and without;
    100 to 2,000 candidates rescored, at least twice k.

    Args:
        count: Rows of the gallery.
        dim: Their dimension.
        k: Neighbours that will be asked for.
    """
    least = _PER_NEIGHBOUR * k
    reorders = sorted({max(candidates, least) for candidates in _CANDIDATES})
    leaves = max(2, round(math.sqrt(count)))
    searched = [math.ceil(share * leaves) for share in _SHARES]
    pairs = [(leaves, number) for number in searched] + [(0, 0)]
    settings = [
        choose_settings(count, dim, k, leaves=n, leaves_to_search=m, reorder=reorder)
        for n, m in pairs
        for reorder in reorders
    ]
    return [*settings, ScannSettings(0, 0, 0)]


def _halves(task: Task, target: TuningTarget) -> tuple[_Half, _Half]:
    sample = task.sample(target.sample, target.seed)
    if len(sample) < 2:
        raise ValueError(
            "Tuning needs two queries with a positive, one to choose by and one to "
            f"report; got {len(sample)}."
        )
    mixed = np.random.default_rng(target.seed).permutation(sample)
    searcher = ExactSearcher().index(task.gallery)
    halves = []
    for part in np.array_split(mixed, 2):
        rows, own = task.only(part)
        nearest = searcher.search(rows, target.k + 1, own)
        recall = _recall_at_1(nearest, task, part)
        halves.append(_Half(part, nearest, recall))
    return halves[0], halves[1]


def _same_index(settings: Iterable[ScannSettings]) -> list[list[ScannSettings]]:
    """Returns settings by the index they need, those that look at little first."""
    groups: dict[ScannSettings, dict[ScannSettings, None]] = {}
    for one in settings:
        groups.setdefault(_index_of(one), {})[one] = None
    return [
        sorted(group, key=lambda one: (one.leaves_to_search, one.reorder))
        for group in groups.values()
    ]


def _index_of(settings: ScannSettings) -> ScannSettings:
    """Returns one and the same for all settings that can share an index."""
    return dataclasses.replace(
        settings,
        leaves_to_search=min(1, settings.leaves),
        reorder=min(1, settings.reorder),
    )


def _looks_at_no_less(settings: ScannSettings, trial: Trial) -> bool:
    return (
        trial.is_enough
        and _index_of(settings) == _index_of(trial.settings)
        and settings.leaves_to_search >= trial.settings.leaves_to_search
        and settings.reorder >= trial.settings.reorder
    )


def _is_exhausted(settings: ScannSettings, last: Sequence[Trial]) -> bool:
    """Returns whether the last two trials say that more candidates find no more."""
    alike = [
        dataclasses.replace(trial.settings, reorder=settings.reorder) == settings
        for trial in last
    ]
    return (
        len(last) == 2
        and all(alike)
        and last[1].settings.reorder > last[0].settings.reorder > 0
        and last[1].overlap - last[0].overlap < _NO_MORE
    )


def _adjusted(searcher: ScannSearcher, settings: ScannSettings) -> ScannSearcher:
    return searcher.adjusted(settings.leaves_to_search, settings.reorder)


def _measured(
    searcher: ScannSearcher, task: Task, half: _Half, target: TuningTarget
) -> Trial:
    rows, own = task.only(half.chosen)
    start = time.perf_counter()
    found = searcher.search(rows, target.k + 1, own)
    seconds = time.perf_counter() - start
    share = overlap(found, half.nearest, target.k)
    difference = _recall_at_1(found, task, half.chosen) - half.recall
    is_enough = share >= target.overlap and abs(difference) <= target.difference + 1e-9
    microseconds = 1e6 * seconds / len(rows)
    return Trial(searcher.settings, share, difference, microseconds, is_enough)


def _recall_at_1(found: Neighbours, task: Task, chosen: np.ndarray) -> float:
    return float(np.mean(ranks_of_found(found, task, chosen) == 1))


def _best(trials: Sequence[Trial]) -> Trial:
    enough = [trial for trial in trials if trial.is_enough]
    if enough:
        return min(enough, key=lambda trial: trial.microseconds)
    return max(trials, key=lambda t: (t.overlap, -abs(t.difference), -t.microseconds))
