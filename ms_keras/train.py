"""Trains an embedding tower and leaves everything a run is for.

    python -m ms_keras.train --flagfile=configs/quickstart.cfg --run_dir=runs/quickstart

Read from top to bottom this is the whole story of a run. It leaves in --run_dir:
`flags.cfg` (runs it again), `events/` for TensorBoard, `checkpoints/`, `recall.json`,
`retrievals.png` and `saved_model/1/`. A second start goes on where the first stopped.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from ms_keras import program
from ms_keras.data import flags as data_flags
from ms_keras.data.generated import generated_protocol
from ms_keras.data.pipeline import UnreadableImages, training_dataset
from ms_keras.data.protocol import Protocol
from ms_keras.data.sample import sampled_protocol
from ms_keras.losses import PairLoss, PairStatistics
from ms_keras.losses import flags as loss_flags
from ms_keras.models import flags as model_flags
from ms_keras.models.tower import features_of
from ms_keras.retrieval.embedding import Model, embed, pixel_rows
from ms_keras.retrieval.picture import retrievals_picture
from ms_keras.retrieval.report import (
    baselines_of,
    report_of,
    table,
    with_baselines,
    write_json,
)
from ms_keras.retrieval.scann_scores import approximate_scores
from ms_keras.retrieval.scores import Scored, Scores, score_arrays, score_protocol
from ms_keras.serving import save_serving_model
from ms_keras.training import flags as training_flags
from ms_keras.training.checkpoints import Checkpoints
from ms_keras.training.events import Events, write_picture
from ms_keras.training.memory_model import tower_of
from ms_keras.training.principal_head import begin_as_components
from ms_keras.training.progress import Progress
from ms_keras.training.projector import write_projector
from ms_keras.training.recall_callback import RecallCallback
from ms_keras.training.run_directory import RunDirectory
from ms_keras.training.steps import StepCounter
from ms_keras.training.strategy import choose_strategy

FLAGS = flags.FLAGS
ROOMS = (data_flags, model_flags, loss_flags, training_flags)
# Training images whose features the last layer may begin by.
MOST_FEATURES = 20_000

flags.DEFINE_string("run_dir", "", "Folder of the run. Made if missing, else resumed.")
flags.DEFINE_bool(
    "dry_run",
    False,
    "Try the recipe out: its network with random weights, two small steps on generated "
    "images, scoring and export, in a folder that is removed again.",
)


def main() -> int:
    """Trains, scores, draws and exports, as the flags say."""
    if FLAGS.dry_run:
        return dry_run()
    return train(data_flags.protocol_from_flags())


def dry_run() -> int:
    """Does all of a run in small, on generated images."""
    small = {
        "weights": "none",
        "steps": 2,
        "eval_every": 2,
        "warmup_steps": 0,
        "milestones": [],
        "classes_per_batch": 3,
        "images_per_class": 2,
    }
    protocol = generated_protocol(
        classes=3, images_per_class=2, with_gallery=FLAGS.dataset == "inshop"
    )
    with tempfile.TemporaryDirectory(prefix="dry_run_") as folder:
        for name, value in {**small, "run_dir": folder}.items():
            FLAGS[name].value = value
        status = train(protocol)
    if status == 0:
        print("Dry run: the recipe works; the folder is removed.")
    return status


def train(protocol: Protocol) -> int:
    """Does the run, or goes on with it."""
    run = RunDirectory(FLAGS.run_dir, ROOMS)
    unreadable = data_flags.unreadable_from_flags()
    counter = StepCounter(first=0, last=FLAGS.steps)
    learner = compiled_learner()
    tower = tower_of(learner)
    watched = watched_protocol(protocol)
    batches = training_data(protocol, unreadable)  # finds fault with the flags early
    run.claim()
    if run.is_finished:
        print(f"{run.path} is finished:\n{table(json.loads(run.scores.read_text()))}")
        return 0
    checkpoints = Checkpoints(run.checkpoints, learner, counter)
    if FLAGS.head_start == "components" and not checkpoints.any:
        features = training_features(tower, protocol, unreadable)
        count = begin_as_components(tower, features)
        print(f"Last layer: {count} components of {len(features):,} training images.")
    if not run.baselines.exists():
        write_json(run.baselines, score_baselines(tower, protocol, unreadable))

    if checkpoints.restore_last():
        print(f"{run.path}: going on after step {counter.step} of {counter.last}.")
        batches = training_data(protocol, unreadable, first_step=counter.step)
    if counter.step < counter.last and not fit(
        run, learner, batches, counter, checkpoints, watched, unreadable
    ):
        return program.INTERRUPTED

    scored = score({"trained": tower}, protocol, unreadable)
    retrievals_picture(run.picture, protocol, scored, "trained", seed=FLAGS.seed)
    write_picture(run.events, run.picture, counter.step)
    rows = scored.queries.rows["trained"]
    write_projector(run.events, rows, protocol.test, scored.queries.indices)
    shutil.rmtree(run.saved_model, ignore_errors=True)  # of a start killed since
    save_serving_model(
        tower, run.saved_model, short_side=model_flags.short_side_from_flags()
    )
    best_recall, best_step = checkpoints.best
    scores = report_of(scored.scores["trained"], scored.arrays(protocol, "trained"))
    report = {
        "protocol": protocol.name,
        **with_baselines(scores, json.loads(run.baselines.read_text())),
        "best_recall_at_1": best_recall,
        "best_step": best_step,
        "best_scored_on": {
            "num_queries": len(watched.test),
            "num_classes": len(np.unique(watched.test.labels)),
            "search": FLAGS.eval_search,
        },
        "steps": counter.step,
    }
    write_json(run.scores, report)
    print(table(report))
    print(f"The run is in {run.path}: look at {run.picture}.")
    return 0


def compiled_learner() -> tf.keras.Model:
    """Builds the flags' tower with its loss and optimizer, on all visible GPUs.

    With a memory it is inside the model that adds that, else it is returned itself.
    """
    tf.keras.utils.set_random_seed(FLAGS.seed)
    tf.keras.mixed_precision.set_global_policy(FLAGS.dtype_policy)
    model_flags.short_side_from_flags()
    with choose_strategy().scope():
        tower = model_flags.tower_from_flags()
        loss = loss_flags.loss_from_flags()
        optimizer = training_flags.optimizer_from_flags(tower)
        # Baselines of other libraries do not tell their pairs.
        metrics = [PairStatistics(loss)] if isinstance(loss, PairLoss) else []
        learner = training_flags.learner_from_flags(tower)
        learner.compile(optimizer, loss=loss, metrics=metrics)
    return learner


def training_data(
    protocol: Protocol,
    unreadable: UnreadableImages | None = None,
    first_step: int = 0,
) -> tf.data.Dataset:
    """Returns the batches from a step on, augmented as the flags say."""
    return training_dataset(
        protocol.train,
        data_flags.sampler_from_flags(protocol, FLAGS.seed),
        data_flags.augmentation_from_flags(
            FLAGS.image_size, model_flags.short_side_from_flags()
        ),
        seed=FLAGS.seed,
        first_step=first_step,
        unreadable=unreadable,
    )


def training_features(
    tower: tf.keras.Model, protocol: Protocol, unreadable: UnreadableImages
) -> np.ndarray:
    """Returns the tower's pooled features of the training images, or some of many."""
    count = len(protocol.train)
    places: np.ndarray = np.linspace(
        0, count - 1, min(count, MOST_FEATURES), dtype=np.int64
    )
    return embed(
        {"features": features_of(tower)},
        protocol.train.at(places),
        image_size=FLAGS.image_size,
        short_side=model_flags.short_side_from_flags(),
        unreadable=unreadable,
        what="training images",
    ).rows["features"]


def score(
    models: dict[str, Model],
    protocol: Protocol,
    unreadable: UnreadableImages,
    by: Callable[..., Scores] = score_arrays,
) -> Scored:
    """Scores models on the test split, with the flags' preprocessing."""
    return score_protocol(
        models,
        protocol,
        image_size=FLAGS.image_size,
        short_side=model_flags.short_side_from_flags(),
        unreadable=unreadable,
        score=by,
    )


def score_baselines(
    tower: tf.keras.Model, protocol: Protocol, unreadable: UnreadableImages
) -> dict[str, Any]:
    """Scores raw pixels and the untrained tower, with its last layer and without."""
    baselines = {
        "frozen": tower,
        "frozen_features": features_of(tower),
        "pixels": pixel_rows,
    }
    scored = score(baselines, protocol, unreadable)
    return baselines_of(scored.scores, scored.arrays(protocol, "pixels").labels)


def watched_protocol(protocol: Protocol) -> Protocol:
    """Returns what is scored on the way: the test split, or some of its classes."""
    if not FLAGS.eval_sample:
        return protocol
    return sampled_protocol(protocol, FLAGS.eval_sample, FLAGS.seed)


def fit(
    run: RunDirectory,
    learner: tf.keras.Model,
    batches: tf.data.Dataset,
    counter: StepCounter,
    checkpoints: Checkpoints,
    watched: Protocol,
    unreadable: UnreadableImages,
) -> bool:
    """Trains up to the last step; returns whether it was reached.

    A round, which Keras calls an epoch, ends with a scoring of what is watched.
    """
    by = {"exact": score_arrays, "scann": approximate_scores}[FLAGS.eval_search]

    def recall(model: tf.keras.Model) -> dict[int, float]:
        return score({"now": model}, watched, unreadable, by).scores["now"].recall

    batch_size = FLAGS.classes_per_batch * FLAGS.images_per_class
    progress = Progress(counter, batch_size)
    first_round = counter.step // FLAGS.eval_every
    rounds = math.ceil((counter.last - counter.step) / FLAGS.eval_every)
    try:
        learner.fit(
            batches,
            initial_epoch=first_round,
            epochs=first_round + rounds,
            steps_per_epoch=FLAGS.eval_every,
            shuffle=False,  # the sampler did; Keras 3 warns otherwise
            verbose=0,
            callbacks=[
                counter,
                RecallCallback(recall),
                checkpoints,
                progress,
                Events(run.events, counter),
            ],
        )
    except (KeyboardInterrupt, RuntimeError) as error:
        if not program.is_interrupt(error):
            raise
        progress.close()
        checkpoints.save_last()
        print(
            f"\nStopped after step {counter.step}, which is saved. The same command "
            "goes on from there.",
            file=sys.stderr,
        )
        return False
    except tf.errors.OpError:
        if unreadable.error:
            raise ValueError(unreadable.error) from None
        raise
    return True


if __name__ == "__main__":
    program.run(main, ROOMS)
