"""The ablation: run as a whole on drawn pictures, and its parts on numbers."""

import itertools
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks.ablation import runs, schedule, workers
from benchmarks.ablation.agreement import agreement, kendall, spearman
from benchmarks.ablation.cached_maps import CachedMaps, load_maps, make_maps
from benchmarks.ablation.curves import spread_out
from benchmarks.ablation.datasets import read_protocol
from benchmarks.ablation.report import write_report
from benchmarks.ablation.rows import ROWS, find_row
from benchmarks.ablation.runs import Run, finished, plan_of, scoring_steps
from benchmarks.ablation.settings import Settings, Source, claim, recorded
from benchmarks.ablation.split_tower import BACKBONE, SplitTower
from ms_keras import build_tower
from ms_keras.data.images import Augmentation, decode_for_training
from ms_keras.models.tower import features_of

REPOSITORY = pathlib.Path(__file__).parents[2]
CLASSES, IMAGES, SIZE = 20, 6, 32


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Twenty classes of six pictures: a pattern of blocks each, with noise."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        pattern = np.kron(rng.uniform(0, 255, (4, 4, 3)), np.ones((10, 10, 1)))
        (root / f"class{label:02}").mkdir()
        for number in range(IMAGES):
            noisy = pattern + rng.normal(scale=3, size=pattern.shape)
            pixels = np.clip(noisy, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"class{label:02}" / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def weights(pictures, tmp_path_factory):
    """A tower's file of random weights that tell pictures apart.

    With the statistics of batch norm that belong to them, as after a training; without,
    nothing of a picture arrives behind so many layers.
    """
    files = sorted(pictures.glob("*/*.png"))
    images = np.stack([Image.open(file).resize((SIZE, SIZE)) for file in files])
    tower = build_tower(BACKBONE, 64, SIZE, weights="none")
    network = tower.get_layer("backbone").layer
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = 0.0
    network(tf.constant(images / 127.5 - 1, tf.float32), training=True)
    file = tmp_path_factory.mktemp("weights") / "tower.weights.h5"
    tower.save_weights(str(file))
    return str(file)


def tiny(pictures, **changes):
    options = {
        "sources": (Source("cub", str(pictures), SIZE),),
        "weights": "none",
        "steps": 4,
        "search_steps": 2,
        "scorings": 2,
        "learning_rates": (1e-3,),
        "seeds": (0,),
        "crops": 2,
        "rows": ("MS weighting", "MS"),
        "classes_per_batch": 4,
        "images_per_class": 3,
    }
    return Settings(**{**options, **changes})


@pytest.fixture(scope="module")
def done(pictures, weights, tmp_path_factory):
    """The folder and the settings of a finished ablation, done by this process."""
    out_dir = tmp_path_factory.mktemp("runs") / "ablation"
    settings = tiny(pictures, weights=weights)
    assert start_here(out_dir, settings) == 1 + 2 + 2  # frozen, searched, final
    return out_dir, settings


def start_here(out_dir, settings):
    """Starts without other processes, and without graphs, which take long to make."""

    def done_by_workers(work, tasks, workers):
        yield from ((task, work(task)) for task in tasks)

    tf.config.run_functions_eagerly(True)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(schedule, "done_by_workers", done_by_workers)
            return schedule.run_all(out_dir, settings, workers=1)
    finally:
        tf.config.run_functions_eagerly(False)


def test_every_run_leaves_its_scores_and_its_curve(done):
    done, settings = done
    for run in schedule.search_runs(settings):
        result = finished(done, run)
        assert [point["step"] for point in result["curve"]] == [2]
    final = schedule.final_runs(done, settings)
    assert len(final) == 2
    for run in final:
        result = finished(done, run)
        assert [point["step"] for point in result["curve"]] == [0, 2, 4]
        assert result["curve"][-1]["recall_at_1"] == result["recall"]["1"]
        assert list(result["recall"]) == ["1", "2", "4", "8"]
        assert 0.3 < result["recall"]["1"] <= result["recall"]["8"] <= 1  # chance: 0.1
        assert not result["diverged"]


def test_the_rate_is_the_best_on_held_out_classes(tmp_path, pictures):
    settings = tiny(pictures, learning_rates=(1e-4, 1e-3, 1e-2))
    for run, score in zip(
        schedule.search_runs(settings), (0.1, 0.3, 0.2, 0.4, 0.2, 0.4), strict=True
    ):
        run.file(tmp_path).parent.mkdir(parents=True, exist_ok=True)
        run.file(tmp_path).write_text(json.dumps({"recall": {"1": score}}))
    rates = [
        schedule.chosen_rate(tmp_path, settings, "cub", row) for row in settings.rows
    ]
    assert rates == [1e-3, 1e-4]  # of equal scores the lower rate's
    run.file(tmp_path).unlink()
    assert schedule.chosen_rate(tmp_path, settings, "cub", run.row) is None


def test_a_second_start_trains_nothing_and_a_lost_result_is_made_again(done):
    done, settings = done
    assert schedule.run_all(done, settings, workers=2) == 0
    run = schedule.final_runs(done, settings)[0]
    before = finished(done, run)
    run.file(done).unlink()
    # By another process, and with graphs; a run follows from its settings alone.
    assert schedule.run_all(done, settings, workers=2) == 1
    after = [point["recall_at_1"] for point in finished(done, run)["curve"]]
    expected = [point["recall_at_1"] for point in before["curve"]]
    np.testing.assert_allclose(after, expected, atol=2 / 60)  # two of the queries


def test_the_report_is_made_of_finished_runs_alone(done):
    done, _ = done
    text = write_report(done, recorded(done))
    assert "| MS | SNP | 77.3 |" in text
    assert (done / "table.md").read_text("utf-8") == text + "\n"
    for name in ("curves.png", "curves.svg", "results.json"):
        assert (done / name).stat().st_size > 1000
    image = np.asarray(Image.open(done / "curves.png").convert("L"))
    assert image.std() > 5  # something is drawn


def test_other_settings_are_refused_with_the_difference(tmp_path, pictures):
    claim(tmp_path, tiny(pictures))
    claim(tmp_path, tiny(pictures))
    with pytest.raises(ValueError, match=r"with steps=4, now steps=5\. Go on"):
        claim(tmp_path, tiny(pictures, steps=5))
    moved = tiny(pictures, sources=(Source("cub", "elsewhere", SIZE),))
    with pytest.raises(ValueError, match="32 px in elsewhere"):
        claim(tmp_path, moved)
    assert recorded(tmp_path) == tiny(pictures)


@pytest.mark.parametrize("mistyped", ["weights", "sources"])
def test_a_mistyped_path_binds_no_folder(tmp_path, pictures, mistyped):
    wrong = {
        "weights": {"weights": str(tmp_path / "none.h5")},
        "sources": {"sources": (Source("cub", str(tmp_path / "none"), SIZE),)},
    }
    out_dir = tmp_path / "run"
    with pytest.raises(ValueError, match="no such"):
        schedule.run_all(out_dir, tiny(pictures, **wrong[mistyped]), workers=1)
    assert not out_dir.exists()


def test_a_report_needs_an_ablation(tmp_path):
    with pytest.raises(ValueError, match="holds no ablation"):
        recorded(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rates": (1e-3, 1e-3)}, "must be distinct"),
        ({"learning_rates": (-1e-3,)}, "between 0 and 1"),
        ({"seeds": ()}, "one at least"),
        ({"seeds": (-1,)}, "0 or more"),
        ({"steps": 0}, "1 or more"),
        ({"scorings": 5}, "more than there are steps"),
        ({"rows": ("Margin",)}, "no row 'Margin'"),
    ],
)
def test_settings_without_sense_are_refused(pictures, changes, message):
    with pytest.raises(ValueError, match=message):
        tiny(pictures, **changes)


def program(*arguments, **options):
    command = [sys.executable, "-m", "benchmarks.ablation", *arguments]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_the_program_tells_bad_flags_and_exits_with_2(tmp_path):
    process = program("--datasets=cub,birds", f"--out_dir={tmp_path / 'run'}")
    _, told = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "--datasets must be a list of cub, grocery; got 'birds'" in told


def test_ctrl_c_ends_program_and_workers_and_keeps_finished_runs(pictures, tmp_path):
    out_dir = tmp_path / "run"
    process = program(
        "--datasets=cub", f"--cub_dir={pictures}", "--weights=none", "--workers=1",
        f"--out_dir={out_dir}", "--crops=1", start_new_session=True,
    )  # fmt: skip
    frozen = Run("cub", "frozen").file(out_dir)
    deadline = time.monotonic() + 120
    while not frozen.exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert json.loads(frozen.read_text())["kind"] == "frozen"
    while _lives(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _lives(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def tower(weights):
    return build_tower(BACKBONE, 64, SIZE, weights)


def test_the_halves_together_are_the_whole_tower(tower):
    rng = np.random.default_rng(1)
    images = tf.constant(rng.uniform(0, 255, (3, SIZE, SIZE, 3)), tf.float32)
    split = SplitTower(tower)
    maps = split.maps(images)
    assert maps.shape == (3, 2, 2, 32)
    features = features_of(tower)(images, training=False)
    assert float(tf.math.reduce_std(features)) > 0.1
    np.testing.assert_allclose(split.features(maps), features, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        split.embeddings(maps), tower(images, training=False), rtol=1e-4, atol=1e-6
    )


def test_what_trains_lies_behind_the_cut_and_is_no_statistic(tower):
    split = SplitTower(tower)
    with tf.GradientTape() as tape:
        rows = split.embeddings(tf.random.normal((4, 2, 2, 32), seed=0))
        value = tf.reduce_sum(rows[:, 0])
    gradients = tape.gradient(value, split.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    # Blocks 13-16 have 3 convolutions each, then comes the last one, all of them with
    # gamma and beta; then the embedding, with a bias.
    assert len(split.trainable_variables) == (4 * 3 + 1) * 3 + 2


def test_maps_are_those_of_the_pictures_own_crops(done, tower):
    done, settings = done
    maps = load_maps(done, "cub")
    protocol = read_protocol(settings.sources[0], done)
    split = SplitTower(tower)
    assert maps.train_crops.shape == (60, 2, 2, 2, 32)
    assert maps.train_crops.dtype == np.float16
    np.testing.assert_array_equal(maps.train_labels, np.repeat(np.arange(10), IMAGES))
    image, crop = 17, 1
    picture = decode_for_training(
        protocol.train.read(tf.constant(image, tf.int64)),
        tf.constant([0, image * 2 + crop], tf.int64),
        Augmentation(SIZE),
    )
    expected = split.maps(picture[tf.newaxis])[0]
    np.testing.assert_allclose(
        maps.train_crops[image, crop], expected, rtol=2e-3, atol=5e-3
    )
    assert np.ptp(expected) > 0.1


def test_unreadable_images_are_told_and_leave_no_maps(pictures, tmp_path):
    folder = tmp_path / "images"
    for label in range(4):
        (folder / f"class{label}").mkdir(parents=True)
        (folder / f"class{label}" / "broken.png").write_bytes(b"not a picture")
    settings = tiny(folder)
    with pytest.raises(ValueError, match=r"broken\.png"):
        make_maps(tmp_path, settings, settings.sources[0])
    assert not list((tmp_path / "maps").iterdir())


def test_grocery_unites_its_lists_and_halves_its_fine_classes(tmp_path):
    for name, first in (("train", 0), ("val", 1), ("test", 2)):
        lines = []
        for label in (10, 9, 2, 1):  # numbers, not names: 2 is before 10
            image = tmp_path / f"{name}_{label}.jpg"
            Image.new("RGB", (8, 8), (20 * label, 0, first)).save(image)
            lines.append(f"{image.name}, {label}, 0")
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    protocol = read_protocol(Source("grocery", str(tmp_path), 8), scratch)
    assert protocol.train.class_names == ("1", "2")
    assert protocol.test.class_names == ("9", "10")
    assert len(protocol.train) == len(protocol.test) == 6
    (tmp_path / "val.txt").unlink()
    with pytest.raises(ValueError, match=r"holds no val\.txt"):
        read_protocol(Source("grocery", str(tmp_path), 8), scratch)


def test_held_out_classes_neither_train_nor_test(pictures):
    settings = tiny(pictures)
    labels = np.repeat(np.arange(10), 3)
    # Test classes are numbered from 0 as well; what tells them is their maps.
    train, test = np.arange(30.0), 100 + np.arange(30.0)
    maps = CachedMaps(train[:, np.newaxis], train, labels, test, labels)
    search = plan_of(settings, Run("cub", "search", "MS", 1e-3), maps)
    final = plan_of(settings, Run("cub", "final", "MS", 1e-3), maps)
    assert set(search.query_labels) == {8, 9}
    assert set(labels[search.train]) == set(range(8))
    np.testing.assert_array_equal(search.queries, train[24:])
    np.testing.assert_array_equal(final.train, np.arange(30))
    np.testing.assert_array_equal(final.queries, test)


def test_scorings_are_spread_evenly():
    assert scoring_steps(800, 5) == [160, 320, 480, 640, 800]
    assert scoring_steps(7, 3) == [2, 5, 7]


def test_rows_use_the_similarities_that_the_paper_says():
    paper = {
        "Binomial": ("S", 71.9), "Lifted*": ("N", 69.7), "MS mining only": ("P", 67.0),
        "BinLifted": ("SN", 70.4), "MS weighting": ("SN", 73.2),
        "Binomial + MS mining": ("SP", 74.6), "Lifted* + MS mining": ("NP", 72.2),
        "MS": ("SNP", 77.3), "Contrastive": ("", None), "Triplet": ("", None),
    }  # fmt: skip
    assert {row.name: (row.similarities, row.paper) for row in ROWS} == paper
    assert len({row.slug for row in ROWS}) == len(ROWS)
    assert find_row("Lifted* + MS mining").slug == "lifted_star_with_ms_mining"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.slug)
def test_every_loss_pulls_positives_and_pushes_negatives(row):
    labels = tf.constant([0, 0, 1, 1])
    rows = tf.Variable(np.random.default_rng(0).normal(size=(4, 3)).astype("f4"))
    with tf.GradientTape() as tape:
        units = tf.math.l2_normalize(rows, axis=1)
        value = row.loss()(labels, rows)
        similarities = tf.matmul(units, units, transpose_b=True)
        same = similarities[0, 1] + similarities[2, 3]
        gap = same - tf.reduce_mean(similarities[:2, 2:])
        del units
    step = tape.gradient(value, rows)
    assert float(tf.norm(step)) > 0

    def gap_of(values):
        units = tf.math.l2_normalize(values, axis=1)
        s = tf.matmul(units, units, transpose_b=True)
        return float(s[0, 1] + s[2, 3] - tf.reduce_mean(s[:2, 2:]))

    small = 1e-3 / float(tf.norm(step))
    assert gap_of(rows - small * step) > float(gap)


def test_mining_alone_weighs_every_kept_pair_by_one():
    weights = (
        find_row("MS mining only")
        .loss()
        .pair_weights(
            tf.constant([0, 0, 1, 1, 2, 2]),
            tf.constant(np.random.default_rng(0).normal(size=(6, 2)), tf.float32),
        )
    )
    assert set(np.unique(np.abs(weights))) == {0.0, 1.0}


def fill(out_dir, settings, scores):
    """Writes runs with given R@1: rows by name, a value for each seed."""
    claim(out_dir, settings)
    for name, values in scores.items():
        plans = [(Run("cub", "search", name, 1e-3, 0), 0.5)]
        plans += [
            (Run("cub", "final", name, 1e-3, seed), value)
            for seed, value in enumerate(values)
        ]
        for run, value in plans:
            run.file(out_dir).parent.mkdir(parents=True, exist_ok=True)
            content = {
                "recall": {"1": value, "2": value, "4": value, "8": 1.0},
                "curve": [
                    {"step": 0, "recall_at_1": 0.1},
                    {"step": 4, "recall_at_1": value},
                ],
                "diverged": False,
                "seconds": 1.0,
            }
            run.file(out_dir).write_text(json.dumps(content))


def test_the_report_tells_mean_spread_and_agreement(tmp_path, pictures):
    settings = tiny(
        pictures,
        rows=("Binomial", "Lifted*", "MS", "Triplet"),
        learning_rates=(1e-3,),
        seeds=(0, 1, 2),
    )
    scores = {
        "Binomial": (0.50, 0.52, 0.54),
        "Lifted*": (0.53, 0.53, 0.53),
        "MS": (0.60, 0.61, 0.65),
    }
    fill(tmp_path, settings, scores)
    text = write_report(tmp_path, settings)
    # By hand: 1, -1, 3 % from the mean of 62 are squares of 14, over n - 1 = 2.
    assert "| MS | SNP | 77.3 | 62.0 ± 2.6 | 0.001 |" in text
    assert "| Binomial | S | 71.9 | 52.0 ± 2.0 | 0.001 |" in text
    assert "| Triplet | - | - | - | - |" in text
    assert "| frozen features | - | - | - | - |" in text
    # The paper: Lifted* < Binomial < MS. Here: Binomial < Lifted* < MS.
    assert "Kendall 0.33, Spearman 0.50" in text
    assert "2 of 3 pairs" in text
    assert "the 2 whose difference exceeds its spread over seeds, 2 are" in text
    results = json.loads((tmp_path / "results.json").read_text())
    row = results["datasets"]["cub"]["rows"]["MS"]
    assert row["recall"]["1"]["mean"] == pytest.approx(0.62)
    assert row["recall"]["1"]["std"] == pytest.approx(math.sqrt(0.0007))
    assert row["curve"][0]["mean"] == pytest.approx(0.1)
    assert row["held_out_recall_at_1"] == {"0.001": 0.5}


def test_a_pair_is_clear_if_it_differs_by_more_than_its_spread():
    compared = agreement(
        {"a": 70.0, "b": 71.0}, {"a": 0.50, "b": 0.54}, {"a": 0.03, "b": 0.04}
    )
    (pair,) = compared["pairs"]
    assert (pair["better"], pair["worse"]) == ("b", "a")
    assert pair["difference"] == pytest.approx(0.04)
    assert pair["spread"] == pytest.approx(0.05)  # 3, 4, 5
    assert pair["agrees"]
    assert not pair["exceeds_spread"]


@pytest.mark.parametrize("seed", range(5))
def test_rank_correlations_are_those_of_their_definitions(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.permutation(8), rng.permutation(8)
    signs = [
        np.sign((a[i] - a[j]) * (b[i] - b[j]))
        for i, j in itertools.combinations(range(8), 2)
    ]
    assert kendall(a, b) == pytest.approx(sum(signs) / 28)
    # Without ties: 1 - 6 sum d^2 / (n (n^2 - 1)).
    expected = 1 - 6 * np.sum((a - b) ** 2) / (8 * 63)
    assert spearman(10.0 * a, np.exp(b)) == pytest.approx(expected)


def test_rank_correlations_with_ties():
    # tau-b: 2 pairs agree, 0 disagree, 1 is tied in one side: 2 / sqrt(2 * 3).
    assert kendall([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / math.sqrt(6))
    # Ranks 1.5, 1.5, 3 and 1, 2, 3.
    expected = np.corrcoef([1.5, 1.5, 3], [1, 2, 3])[0, 1]
    assert spearman([1, 1, 2], [1, 2, 3]) == pytest.approx(expected)
    assert math.isnan(kendall([1, 1], [1, 2]))


def test_labels_are_moved_apart_and_no_further():
    assert spread_out([0.0, 5.0], 1.0) == [0.0, 5.0]
    np.testing.assert_allclose(spread_out([2.0, 2.0], 1.0), [1.5, 2.5])
    heights = [0.0, 0.1, 0.2, 3.0, 3.1]
    moved = spread_out(heights, 0.5)
    assert np.all(np.diff(moved) >= 0.5 - 1e-9)
    assert np.mean(moved[:3]) == pytest.approx(0.1)


def test_a_worker_tells_of_bad_input():
    results = workers.done_by_workers(float, ["2.5", "two"], workers=1)
    assert next(results) == ("2.5", 2.5)
    with pytest.raises(ValueError, match="could not convert string to float: 'two'"):
        next(results)


def test_a_killed_worker_is_noticed():
    kill_itself = signal.raise_signal
    with pytest.raises(workers.WorkerError, match="ended at 9"):
        list(workers.done_by_workers(kill_itself, [int(signal.SIGKILL)], workers=1))


def test_a_training_that_diverged_scores_nothing(pictures):
    score = runs._scorer(lambda maps: maps / 0.0, np.ones((4, 3)), np.arange(4) // 2)
    assert score() is None
