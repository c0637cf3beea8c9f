"""The training program, run as a user runs it, on a handful of pictures."""

import json
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from absl.testing import flagsaver
from PIL import Image

from ms_keras import program, train
from ms_keras.retrieval.scann_scores import approximate_scores
from ms_keras.training.memory_model import tower_of
from ms_keras.training.steps import StepCounter

REPOSITORY = pathlib.Path(__file__).parents[1]
CONFIGS = sorted((REPOSITORY / "configs").glob("*.cfg"))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Eight classes of six pictures: a colour each, with noise."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for label in range(8):
        colour = rng.uniform(0, 255, 3)
        (root / f"class{label}").mkdir()
        for number in range(6):
            noisy = colour + rng.normal(scale=60, size=(20, 20, 3))
            pixels = np.clip(noisy, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"class{label}" / f"{number}.png")
    return root


def arguments(pictures, run_dir, *more):
    return [
        "--dataset=image_folder", f"--data_dir={pictures}", f"--run_dir={run_dir}",
        "--backbone=small_conv", "--weights=none", "--image_size=16",
        "--embedding_dim=8", "--classes_per_batch=3", "--images_per_class=4",
        "--steps=6", "--eval_every=4", "--learning_rate=1e-3", "--ks=1,2", *more,
    ]  # fmt: skip


def start(*flags_):
    with flagsaver.flagsaver():
        flags.FLAGS(["train", *flags_])
        return train.main()


def embeddings_of(run_dir):
    loaded = tf.saved_model.load(str(run_dir / "saved_model" / "1"))
    images = tf.constant(
        np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 3)), tf.float32
    )
    return loaded.signatures["serving_default"](images=images)["embeddings"].numpy()


@pytest.fixture(scope="session")
def finished(pictures, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "finished"
    assert start(*arguments(pictures, run_dir)) == 0
    return run_dir


def test_a_run_leaves_everything_it_is_for(finished):
    report = json.loads((finished / "recall.json").read_text())
    assert set(report["recall"]) == {"1", "2"}
    for name in ("frozen_recall", "frozen_features_recall", "pixels_recall"):
        assert set(report[name]) == {"1", "2"}
    assert (report["num_queries"], report["num_gallery"]) == (24, 23)
    assert (report["steps"], report["num_without_positive"]) == (6, 0)
    assert report["best_recall_at_1"] >= report["recall"]["1"]
    assert (finished / "retrievals.png").read_bytes().startswith(b"\x89PNG")
    assert tf.train.latest_checkpoint(str(finished / "checkpoints" / "best"))
    assert tf.train.latest_checkpoint(str(finished / "checkpoints" / "last"))
    assert embeddings_of(finished).shape == (4, 8)
    for name in ("recall", "frozen_recall", "frozen_features_recall", "pixels_recall"):
        for k, (low, high) in report["intervals"][name].items():
            assert 0 <= low <= report[name][k] <= high <= 1
    scored_on = {"num_queries": 24, "num_classes": 4, "search": "exact"}
    assert report["best_scored_on"] == scored_on


def test_tensorboard_gets_loss_pairs_and_recall(finished):
    steps = {}
    for path in (finished / "events").rglob("events.out.*"):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                steps.setdefault(value.tag, []).append(event.step)
    for name in ("loss", "kept_negatives", "val_recall_at_1", "learning_rate"):
        assert steps[f"round/{name}"] == [4, 6]
    assert steps["retrievals"] == [6]
    projector = (finished / "events" / "projector_config.pbtxt").read_text()
    assert "sprite.jpg" in projector


def test_scores_on_the_way_may_be_of_some_classes_by_scann(
    pictures, tmp_path, monkeypatch
):
    pytest.importorskip("scann", reason="ScaNN exists for Linux only")
    seen = []

    def spied(arrays, ks, num_skipped):
        seen.append(sorted(set(arrays.labels)))
        return approximate_scores(arrays, ks, num_skipped)

    monkeypatch.setattr(train, "approximate_scores", spied)
    sampled = ["--eval_sample=10", "--eval_search=scann"]
    assert start(*arguments(pictures, tmp_path / "run", *sampled)) == 0
    assert [len(classes) for classes in seen] == [2, 2]  # of 4, six pictures each
    assert seen[0] == seen[1]
    report = json.loads((tmp_path / "run" / "recall.json").read_text())
    assert report["num_queries"] == 24
    scored_on = {"num_queries": 12, "num_classes": 2, "search": "scann"}
    assert report["best_scored_on"] == scored_on


def test_a_finished_run_says_so_and_touches_nothing(pictures, finished, capsys):
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file()}
    assert start(*arguments(pictures, finished)) == 0
    assert "is finished" in capsys.readouterr().out
    after = {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file()}
    assert before == after


def test_the_flags_of_a_run_run_it_again(finished, tmp_path):
    again = tmp_path / "again"
    assert start(f"--flagfile={finished / 'flags.cfg'}", f"--run_dir={again}") == 0
    np.testing.assert_allclose(embeddings_of(again), embeddings_of(finished), atol=1e-5)


@pytest.fixture(scope="session")
def finished_with_memory(pictures, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "finished"
    assert start(*arguments(pictures, run_dir, "--memory_size=30")) == 0
    return run_dir


@pytest.fixture(scope="session")
def finished_with_components(pictures, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "finished"
    assert start(*arguments(pictures, run_dir, "--head_start=components")) == 0
    return run_dir


def test_the_last_layer_may_begin_as_components(finished, finished_with_components):
    """It does before the baselines, whose pooled features do not see it."""
    ours, random = (
        json.loads((run / "baselines.json").read_text())
        for run in (finished_with_components, finished)
    )
    assert ours["frozen_recall"] != random["frozen_recall"]
    assert ours["frozen_features_recall"] == random["frozen_features_recall"]


@pytest.mark.parametrize(("most", "places"), [(100, range(24)), (4, [0, 7, 15, 23])])
def test_components_are_those_of_training_images(
    pictures, tmp_path, monkeypatch, most, places
):
    told = []

    def spied(tower, features):
        told.append((tower, features))
        raise SystemExit("seen")

    monkeypatch.setattr(train, "begin_as_components", spied)
    monkeypatch.setattr(train, "MOST_FEATURES", most)
    with pytest.raises(SystemExit, match="seen"):
        start(*arguments(pictures, tmp_path / "run", "--head_start=components"))
    ((tower, features),) = told
    # The first half of the classes train; 20 pixels are scored as 18, then cut to 16.
    files = sorted(pictures.glob("class[0-3]/*.png"))
    images = [Image.open(files[i]).resize((18, 18), Image.BILINEAR) for i in places]
    middles = np.stack([np.asarray(i, "float32")[1:17, 1:17] for i in images])
    expected = train.features_of(tower)(middles).numpy()
    np.testing.assert_allclose(features, expected, atol=0.02 * np.abs(expected).max())
    assert np.abs(expected[0] - expected[1:]).max() > 0.1 * np.abs(expected).max()


def test_a_memory_changes_what_is_learnt(finished, finished_with_memory):
    difference = embeddings_of(finished_with_memory) - embeddings_of(finished)
    assert np.abs(difference).max() > 1e-3


@pytest.mark.parametrize(
    ("whole", "more"),
    [
        ("finished", ()),
        ("finished_with_memory", ("--memory_size=30",)),
        ("finished_with_components", ("--head_start=components",)),
    ],
)
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(
    pictures, whole, more, tmp_path, monkeypatch, request
):
    finished = request.getfixturevalue(whole)
    count = StepCounter.on_train_batch_end

    def interrupt(counter, batch, logs=None):
        count(counter, batch, logs)
        if counter.step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StepCounter, "on_train_batch_end", interrupt)
        status = start(*arguments(pictures, tmp_path / "run", *more))
        assert status == program.INTERRUPTED
    assert not (tmp_path / "run" / "recall.json").exists()
    assert start(*arguments(pictures, tmp_path / "run", *more)) == 0
    np.testing.assert_allclose(
        embeddings_of(tmp_path / "run"), embeddings_of(finished), atol=1e-5
    )


def test_a_run_killed_after_its_last_step_is_finished_without_training(
    pictures, finished, tmp_path, monkeypatch
):
    def killed(*_, **__):
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr(train, "write_json", killed)
        patch.setattr(train, "score_baselines", lambda *_: {})
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "baselines.json").write_text("{}")
        with pytest.raises(SystemExit):
            start(*arguments(pictures, tmp_path / "run"))
    assert (tmp_path / "run" / "saved_model" / "1").is_dir()
    monkeypatch.setattr(train, "fit", None)
    assert start(*arguments(pictures, tmp_path / "run")) == 0
    assert (tmp_path / "run" / "recall.json").exists()


def test_other_flags_in_the_same_folder_are_refused(pictures, finished):
    with pytest.raises(ValueError, match=r"--steps=6.*--steps=7"):
        start(*arguments(pictures, finished, "--steps=7"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("--dataset=imagenet_folder", "expected image_folder"),
        ("--data_dir=/no/such/folder", "no such folder"),
        ("--classes_per_batch=50", "Lower --classes_per_batch"),
        ("--run_dir=", "--run_dir is missing"),
        ("--backbone=resnet5", "resnet50"),
        ("--weights=/no/weights.h5", "weights"),
        ("--min_area=2", "min_area"),
        ("--ks=one", "--ks"),
        ("--milestones=9,3", "rising"),
        ("--milestones=x", "whole numbers"),
        ("--learning_rate=0", "above 0"),
        ("--alpha=0", "alpha"),
        ("--short_side=8", "short_side"),
        ("--warmup_steps=100", "warmup_steps"),
        ("--memory_warmup=100", "goes with a --memory_size"),
    ],
)
def test_wrong_flags_name_the_mend_and_leave_nothing(
    pictures, tmp_path, wrong, message
):
    with pytest.raises(ValueError, match=message):
        start(*arguments(pictures, tmp_path / "run", wrong))
    assert not (tmp_path / "run").exists()


def test_unreadable_images_are_named_or_skipped(pictures, tmp_path):
    broken = tmp_path / "pictures"
    for path in pictures.rglob("*.png"):
        copy = broken / path.relative_to(pictures)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    for name in ("class1/3.png", "class6/2.png"):  # one to train on, one to test on
        (broken / name).write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"class\d/\d\.png.*--skip_unreadable"):
        start(*arguments(broken, tmp_path / "run"))
    assert start(*arguments(broken, tmp_path / "skip", "--skip_unreadable")) == 0
    report = json.loads((tmp_path / "skip" / "recall.json").read_text())
    assert (report["num_queries"], report["num_skipped"]) == (23, 1)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_trains_and_exports(pictures, tmp_path, policy):
    try:
        flag = f"--dtype_policy={policy}"
        assert start(*arguments(pictures, tmp_path / "run", flag)) == 0
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    embeddings = embeddings_of(tmp_path / "run")
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_two_replicas_train_a_run(pictures, tmp_path, two_replicas, monkeypatch):
    monkeypatch.setattr(train, "choose_strategy", lambda: two_replicas)
    assert start(*arguments(pictures, tmp_path / "run")) == 0
    assert embeddings_of(tmp_path / "run").shape == (4, 8)


def command(*flags_):
    return [sys.executable, "-m", "ms_keras.train", *flags_]


def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(pictures, tmp_path):
    run_dir = tmp_path / "run"
    endless = arguments(pictures, run_dir, "--steps=1000000", "--eval_every=20")
    process = subprocess.Popen(
        command(*endless), cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    )
    last = run_dir / "checkpoints" / "last" / "checkpoint"
    give_up = time.monotonic() + 120
    while not last.exists() and process.poll() is None:
        assert time.monotonic() < give_up
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == program.INTERRUPTED, errors
    assert "which is saved" in errors
    step = int(errors.split("Stopped after step ")[1].split(",")[0])
    assert tf.train.latest_checkpoint(str(last.parent)).endswith(f"ckpt-{step}")


@pytest.mark.parametrize("is_ctrl_c", [True, False])
def test_a_ctrl_c_that_tensorflow_makes_an_error_of_is_one(
    pictures, tmp_path, monkeypatch, is_ctrl_c
):
    what = "REPLACED BY KeyboardInterrupt: <EMPTY MESSAGE>" if is_ctrl_c else "broken"
    score = train.score

    def scored(models, *arguments):
        if "now" in models:
            raise RuntimeError(f"in user code: {what}")
        return score(models, *arguments)

    monkeypatch.setattr(train, "score", scored)
    run_dir = tmp_path / "run"
    if is_ctrl_c:
        assert start(*arguments(pictures, run_dir)) == program.INTERRUPTED
        assert tf.train.latest_checkpoint(str(run_dir / "checkpoints" / "last"))
    else:
        with pytest.raises(RuntimeError, match="broken"):
            start(*arguments(pictures, run_dir))


@pytest.mark.parametrize(
    "raised", ["KeyboardInterrupt", "RuntimeError('by Ctrl-C: KeyboardInterrupt')"]
)
def test_ctrl_c_ends_any_program_alike(raised):
    failing = f"def main():\n    raise {raised}\n"
    code = f"from ms_keras import program\n{failing}program.run(main)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == program.INTERRUPTED
    assert done.stderr.endswith("\nInterrupted.\n")


def test_wrong_flags_end_the_program_with_a_message_and_no_traceback(tmp_path):
    done = subprocess.run(
        command("--dataset=image_folder", f"--run_dir={tmp_path}"),
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == program.USAGE_ERROR
    assert "Error: --data_dir is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_lists_the_flags_by_room():
    done = subprocess.run(
        command("--help"), cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    places = [done.stdout.index("--run_dir")]
    for room, flag in {
        "data": "classes_per_batch",
        "models": "backbone",
        "losses": "epsilon",
        "training": "optimizer",
    }.items():
        places.append(done.stdout.index(f"ms_keras.{room}.flags:"))
        places.append(done.stdout.index(f"  --{flag}:"))
    assert places == sorted(places)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_recipes_hold_flags_that_exist_and_fit_together(config, monkeypatch):
    monkeypatch.chdir(REPOSITORY)  # variants name their recipe from there
    with flagsaver.flagsaver():
        flags.FLAGS(["train", f"--flagfile={config}", "--weights=none"])
        learner = train.compiled_learner()
        train.data_flags.augmentation_from_flags(
            flags.FLAGS.image_size, train.model_flags.short_side_from_flags()
        )
        train.data_flags.ks_from_flags()
        assert tower_of(learner).output_shape == (None, flags.FLAGS.embedding_dim)
    assert config.read_text().startswith("# ")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_a_dry_run_of_each_recipe_does_all_of_a_run_and_leaves_nothing(
    config, tmp_path, capfd, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(REPOSITORY)
    assert start(f"--flagfile={config}", "--dry_run") == 0
    told = capfd.readouterr().out
    # In-Shop has a gallery of its own.
    searched = 6 if config.name.startswith("inshop") else 5
    assert f"6 queries, each searched in {searched}" in told
    assert "Dry run" in told
    assert not list(tmp_path.glob("dry_run_*"))
