"""A run: one row trained at one rate from one seed, and scored."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.ablation.cached_maps import CachedMaps, load_maps
from benchmarks.ablation.datasets import KS
from benchmarks.ablation.rows import find_row
from benchmarks.ablation.settings import Settings
from benchmarks.ablation.split_tower import SplitTower, tower_to_split
from ms_keras import recall_at_k
from ms_keras.data.held_out import held_out
from ms_keras.data.sampler import PKSampler
from ms_keras.retrieval.report import as_json, write_json
from ms_keras.training.optimizers import build_optimizer
from ms_keras.training.schedules import build_schedule

SEARCH, FINAL, FROZEN = "search", "final", "frozen"
_SCORED_AT_ONCE = 256
_HELD_OUT = 0.25  # share of the training classes that choose the learning rate

_NOTHING = dict.fromkeys(KS, 0.0)

Batch = tuple[np.ndarray, np.ndarray]
Recall = dict[int, float]


@dataclasses.dataclass(frozen=True)
class Run:
    """What to train and what to score.

    Attributes:
        dataset: Name of the data set.
        kind: `"search"`: trains without the held-out training classes and is scored on
            them. `"final"`: trains on all training classes and is scored on the test
            classes. `"frozen"`: scores the pooled features of the test classes as they
            are before training.
        row: Name of the row; none if frozen.
        rate: Learning rate.
        seed: Of the embedding's weights, the batches and their crops.
    """

    dataset: str
    kind: str
    row: str = ""
    rate: float = 0.0
    seed: int = 0

    def file(self, out_dir: pathlib.Path) -> pathlib.Path:
        """Returns where the run's result lies, once it is finished."""
        folder = out_dir / "runs" / self.dataset
        if self.kind == FROZEN:
            return folder / "frozen.json"
        slug = find_row(self.row).slug
        return folder / slug / f"{self.kind}_rate{self.rate:g}_seed{self.seed}.json"


def finished(out_dir: pathlib.Path, run: Run) -> dict[str, Any] | None:
    """Returns the result of a run, or `None` if it has none yet."""
    file = run.file(out_dir)
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def perform(out_dir: pathlib.Path, settings: Settings, run: Run) -> dict[str, Any]:
    """Does a run and writes its result.

    Returns:
        The run's attributes, its last `recall`, the `curve` of R@1, `seconds`, and
        whether the training `diverged`: its recall is then 0.
    """
    begin = time.perf_counter()
    tf.keras.backend.clear_session()  # what earlier runs of this process left
    maps = load_maps(out_dir, run.dataset)
    size = settings.source(run.dataset).image_size
    tower = tower_to_split(size, settings.weights, settings.embedding_dim, run.seed)
    split = SplitTower(tower)
    if run.kind == FROZEN:
        score = _scorer(split.features, maps.test_centres, maps.test_labels)
        curve = [(0, score())]
    else:
        curve = _train(settings, run, maps, tower, split)
    result = {
        **dataclasses.asdict(run),
        "recall": as_json(curve[-1][1] or _NOTHING),
        "curve": [
            {"step": step, "recall_at_1": (recall or _NOTHING)[1]}
            for step, recall in curve
        ],
        "diverged": curve[-1][1] is None,
        "seconds": time.perf_counter() - begin,
    }
    write_json(run.file(out_dir), result)
    return result


def scoring_steps(steps: int, scorings: int) -> list[int]:
    """Returns after how many steps a run is scored: evenly spread, the end included."""
    return [round(steps * number / scorings) for number in range(1, scorings + 1)]


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """What a run trains on, and what it is scored on.

    Attributes:
        train: Indices of the training images to draw from.
        queries: `[queries, ...]` maps to score, each searched among the others.
        query_labels: `[queries]` their class ids.
        steps: Length of the training.
        scored_after: Numbers of steps.
    """

    train: np.ndarray
    queries: np.ndarray
    query_labels: np.ndarray
    steps: int
    scored_after: list[int]


def plan_of(settings: Settings, run: Run, maps: CachedMaps) -> Plan:
    """Returns a run's plan. Only a final run looks at test classes."""
    labels = maps.train_labels
    if run.kind == SEARCH:
        outside = np.isin(labels, held_out(np.unique(labels), _HELD_OUT))
        return Plan(
            train=np.flatnonzero(~outside),
            queries=maps.train_centres[outside],
            query_labels=labels[outside],
            steps=settings.search_steps,
            scored_after=[settings.search_steps],
        )
    return Plan(
        train=np.arange(len(labels)),
        queries=maps.test_centres,
        query_labels=maps.test_labels,
        steps=settings.steps,
        scored_after=[0, *scoring_steps(settings.steps, settings.scorings)],
    )


def _train(
    settings: Settings,
    run: Run,
    maps: CachedMaps,
    tower: tf.keras.Model,
    split: SplitTower,
) -> list[tuple[int, Recall | None]]:
    """Trains, and returns steps with what was scored after them."""
    plan = plan_of(settings, run, maps)
    optimizer = build_optimizer(
        "adamw",
        build_schedule("cosine", run.rate, plan.steps),
        tower,
        weight_decay=settings.weight_decay,
    )
    train_step = _train_step(split, optimizer, find_row(run.row).loss())
    score = _scorer(split.embeddings, plan.queries, plan.query_labels)
    curve = [(0, score())] if 0 in plan.scored_after else []
    batches = _batches(settings, run.seed, maps, plan)
    for done, batch in enumerate(batches, start=1):
        train_step(*map(tf.constant, batch))
        if done in plan.scored_after:
            curve.append((done, score()))
    return curve


def _batches(
    settings: Settings, seed: int, maps: CachedMaps, plan: Plan
) -> Iterable[Batch]:
    """Yields float32 maps and labels; each image appears as one of its crops."""
    sampler = PKSampler(
        maps.train_labels[plan.train],
        settings.classes_per_batch,
        settings.images_per_class,
        seed,
    )
    for step in range(plan.steps):
        images = plan.train[sampler.batch(step)]
        rng = np.random.default_rng([seed, step])
        crops = rng.integers(settings.crops, size=len(images))
        yield maps.train_crops[images, crops].astype("f4"), maps.train_labels[images]


def _train_step(
    split: SplitTower,
    optimizer: tf.keras.optimizers.Optimizer,
    loss: tf.keras.losses.Loss,
) -> Callable[[tf.Tensor, tf.Tensor], None]:
    """Returns a training step.

    Not `fit`, in which Keras 3 would let the backbone's batch norm train.
    """
    variables = split.trainable_variables
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step(maps: tf.Tensor, labels: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            value = loss(labels, split.embeddings(maps))
        gradients = tape.gradient(value, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    return step


def _scorer(
    model: Callable[[tf.Tensor], tf.Tensor], maps: np.ndarray, labels: np.ndarray
) -> Callable[[], Recall | None]:
    """Returns a function that tells Recall@K; `None` if rows are not finite."""
    run = tf.function(model, autograph=False, reduce_retracing=True)
    blocks = [
        slice(first, first + _SCORED_AT_ONCE)
        for first in range(0, len(maps), _SCORED_AT_ONCE)
    ]

    def score() -> Recall | None:
        parts = (tf.constant(maps[block].astype("f4")) for block in blocks)
        embeddings = np.concatenate([run(part).numpy() for part in parts])
        if not np.isfinite(embeddings).all():
            return None
        return recall_at_k(embeddings, labels, KS)

    return score
