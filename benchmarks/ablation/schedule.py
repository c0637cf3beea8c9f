"""The order of an ablation: maps, a rate for each row, the scored runs."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import time
from typing import Any

from benchmarks.ablation.cached_maps import make_maps
from benchmarks.ablation.runs import FINAL, FROZEN, SEARCH, Run, finished, perform
from benchmarks.ablation.settings import Settings, claim
from benchmarks.ablation.workers import done_by_workers
from ms_keras.data.files import folder
from ms_keras.models.weights import weights_sources


def run_all(out_dir: pathlib.Path, settings: Settings, workers: int) -> int:
    """Does what is not done yet.

    Args:
        out_dir: The ablation's folder.
        settings: What to do.
        workers: How many processes train at a time.

    Returns:
        How many runs this was.

    Raises:
        ValueError: If the folder belongs to other settings, or the images or the
            weights will not do.
        WorkerError: If a process fails or is killed; finished runs are kept.
    """
    for source in settings.sources:  # before the folder is bound to them
        folder(source.data_dir, f"--{source.name}_dir")
    weights_sources(settings.weights)
    claim(out_dir, settings)
    for source in settings.sources:
        make_maps(out_dir, settings, source)
    progress = _Progress(settings)
    first = [
        *(Run(source.name, FROZEN) for source in settings.sources),
        *search_runs(settings),
    ]
    done = _do(out_dir, settings, first, workers, progress)
    return done + _do(
        out_dir, settings, final_runs(out_dir, settings), workers, progress
    )


def search_runs(settings: Settings) -> list[Run]:
    """Returns the runs that choose the learning rates, all from the first seed."""
    return [
        Run(source.name, SEARCH, row, rate, settings.seeds[0])
        for source in settings.sources
        for row in settings.rows
        for rate in settings.learning_rates
    ]


def final_runs(out_dir: pathlib.Path, settings: Settings) -> list[Run]:
    """Returns the scored runs of all rows whose learning rate is chosen."""
    rates = {
        (source.name, row): chosen_rate(out_dir, settings, source.name, row)
        for source in settings.sources
        for row in settings.rows
    }
    return [
        Run(dataset, FINAL, row, rate, seed)
        for (dataset, row), rate in rates.items()
        if rate is not None
        for seed in settings.seeds
    ]


def chosen_rate(
    out_dir: pathlib.Path, settings: Settings, dataset: str, row: str
) -> float | None:
    """Returns the rate with the best R@1 on the held-out training classes.

    Equal scores go to the lower rate; `None` while runs are missing.
    """
    scores = {}
    for run in search_runs(settings):
        if (run.dataset, run.row) == (dataset, row):
            result = finished(out_dir, run)
            if result is None:
                return None
            scores[run.rate] = result["recall"]["1"]
    return max(sorted(scores), key=lambda rate: scores[rate])


def _do(
    out_dir: pathlib.Path,
    settings: Settings,
    runs: list[Run],
    workers: int,
    progress: _Progress,
) -> int:
    missing = [run for run in runs if not run.file(out_dir).exists()]
    progress.skip([run for run in runs if run not in missing])
    work = functools.partial(perform, out_dir, settings)
    with contextlib.closing(done_by_workers(work, missing, workers)) as results:
        for run, result in results:
            progress.tell(run, result)
    return len(missing)


_STEPS_OF_SETUP = 60  # building, tracing and scoring take as long as some steps


class _Progress:
    """Says which runs are finished, and how long the others will take."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        rows = len(settings.rows)
        self._left = {
            source.name: {
                FROZEN: 1,
                SEARCH: rows * len(settings.learning_rates),
                FINAL: rows * len(settings.seeds),
            }
            for source in settings.sources
        }
        self._total = self._runs_left()
        self._begin = time.monotonic()
        self._cost_done = 0.0

    def skip(self, runs: list[Run]) -> None:
        """Counts runs of earlier starts."""
        for run in runs:
            self._left[run.dataset][run.kind] -= 1
        if runs:
            print(f"{len(runs)} runs were finished before.", flush=True)

    def tell(self, run: Run, result: dict[str, Any]) -> None:
        """Prints a line on a finished run."""
        self._left[run.dataset][run.kind] -= 1
        self._cost_done += self._cost(run.dataset, run.kind)
        cost_left = sum(
            count * self._cost(dataset, kind)
            for dataset, counts in self._left.items()
            for kind, count in counts.items()
        )
        elapsed = time.monotonic() - self._begin
        minutes = elapsed / self._cost_done * cost_left / 60
        what = f"{run.dataset:<8}{run.kind:<7}{run.row:<21}"
        if run.kind != FROZEN:
            what += f"rate {run.rate:<7g}seed {run.seed:<3}"
        score = f"R@1 {100 * result['recall']['1']:.2f}"
        if result["diverged"]:
            score = "diverged"
        print(
            f"{what} {score}  {result['seconds']:.0f} s  "
            f"{self._total - self._runs_left()} of {self._total}, "
            f"about {minutes:.0f} min left",
            flush=True,
        )

    def _runs_left(self) -> int:
        return sum(sum(counts.values()) for counts in self._left.values())

    def _cost(self, dataset: str, kind: str) -> float:
        """Returns what a run takes, in no unit: pixels that it trains on."""
        steps = {
            FROZEN: 0,
            SEARCH: self._settings.search_steps,
            FINAL: self._settings.steps,
        }
        pixels = self._settings.source(dataset).image_size ** 2
        return (steps[kind] + _STEPS_OF_SETUP) * pixels
