"""The evaluation program, as a user runs it."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ms_keras.retrieval.recall import recall_at_k

COLOURS = [(220, 30, 30), (30, 200, 60), (40, 60, 220), (200, 190, 40)]


def evaluate(*arguments):
    """Runs the program; returns its exit status, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "ms_keras.evaluate", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


ONE_AFTER_THE_OTHER = """
import json, sys
from absl import flags
from absl.testing import flagsaver
from ms_keras import evaluate

flags.FLAGS(["evaluate"])
told = []
for arguments in json.load(sys.stdin):
    with flagsaver.flagsaver():
        flags.FLAGS(["evaluate", *arguments])
        try:
            evaluate.main()
            told.append("")
        except ValueError as error:
            told.append(str(error))
print("\\n" + json.dumps(told))
"""


def errors_of(cases):
    """Runs the program on several lists of arguments, starting TensorFlow once."""
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER],
        input=json.dumps([list(map(str, case)) for case in cases]),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


class Tower(tf.Module):
    def __init__(self):
        super().__init__()
        self.centre = tf.Variable(120.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 3], name="images")])
    def embed(self, images):
        return {"embeddings": tf.reduce_mean(images, [1, 2]) - self.centre}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """What a finished run leaves, with images of four colours, two classes to test."""
    root = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    for label, colour in enumerate(COLOURS):
        folder = root / "images" / f"class{label}"
        folder.mkdir(parents=True)
        for number in range(3):
            pixels = np.clip(colour + rng.integers(-25, 26, (24, 30, 3)), 0, 255)
            image = Image.fromarray(pixels.astype(np.uint8))
            image.save(folder / f"{number}.png")
    run = root / "run"
    tower = Tower()
    tf.saved_model.save(
        tower, str(run / "saved_model" / "1"), {"serving_default": tower.embed}
    )
    lines = [
        "# a comment",
        "--dataset=image_folder",
        f"--data_dir={root / 'images'}",
        "--noflip",
        "--image_size=16",
        "--ks=1,2",
        "--learning_rate=0.1",  # the training program's, unknown here
        "--milestones=",
    ]
    (run / "flags.cfg").write_text("\n".join(lines) + "\n")
    (run / "recall.json").write_text(
        json.dumps({"recall": {"1": 0}, "frozen_recall": {"1": 0.125, "2": 0.25}})
    )
    return run


def test_a_run_is_scored_beside_its_frozen_tower_and_raw_pixels(run_dir, tmp_path):
    out, picture = tmp_path / "made" / "scores.json", tmp_path / "picture.png"
    status, told, errors = evaluate(
        f"--run_dir={run_dir}",
        f"--out={out}",
        f"--picture={picture}",
        f"--report={tmp_path / 'page'}",
        "--metrics=ranking,clustering",
    )
    assert status == 0, errors
    report = json.loads(out.read_text())
    assert report["recall"] == {"1": 1.0, "2": 1.0}  # the run's own --ks
    assert report["frozen_recall"] == {"1": 0.125, "2": 0.25}
    assert set(report["pixels_recall"]) == {"1", "2"}
    assert report["num_queries"] == 6  # the last half of the classes
    rows = [line.split() for line in told.splitlines()]
    assert rows[0] == ["R@1", "R@2"]
    assert ["12.50", "25.00"] in [row[-2:] for row in rows]
    assert ["trained", "100.00", "100.00"] in rows
    assert set(report["intervals"]["pixels_recall"]) == {"1", "2"}
    with Image.open(picture) as image:
        assert image.format == "PNG"
    metrics = {"precision_at_1", "r_precision", "map_at_r", "nmi", "ami"}
    assert set(report["metrics"]) == metrics
    assert report["metrics"]["map_at_r"] == 1.0
    assert report["intervals"]["recall"]["1"] == [1.0, 1.0]
    page = (tmp_path / "page" / "index.html").read_text()
    assert f"Look at {tmp_path / 'page' / 'index.html'}" in told
    assert "class3" in page
    assert "12.5" in page  # the frozen tower's


def test_other_images_are_not_shown_beside_the_scores_of_the_runs_own(
    run_dir, tmp_path
):
    out = tmp_path / "scores.json"
    status, told, errors = evaluate(
        f"--run_dir={run_dir}", "--test_classes=2-4", "--ks=1", f"--out={out}"
    )
    assert status == 0, errors
    report = json.loads(out.read_text())
    assert report["num_queries"] == 9  # the command line wins
    assert set(report["recall"]) == {"1"}
    assert "frozen_recall" not in report
    assert "frozen" not in told


def test_flags_of_training_are_refused_and_not_taken_for_other_images(run_dir):
    unread = ["--backbone=resnet50", "--min_area=0.5"]
    tower = f"--saved_model={run_dir / 'saved_model' / '1'}"
    for told in errors_of([[f"--run_dir={run_dir}", *unread], [tower, *unread]]):
        assert "--min_area, --backbone would change nothing" in told
        assert "--short_side are read. Drop" in told


def test_scann_scores_images_beside_exact_search(run_dir, tmp_path):
    """Each number with its own interval, and an unreadable image still counted."""
    pytest.importorskip("scann", reason="ScaNN exists for Linux only")
    shutil.copytree(run_dir.parent / "images", tmp_path / "images")
    (tmp_path / "images" / "class3" / "0.png").write_bytes(b"no picture")
    status, told, errors = evaluate(
        f"--run_dir={run_dir}",
        f"--data_dir={tmp_path / 'images'}",
        "--skip_unreadable",
        "--search=scann",
        "--metrics=ranking,classes",
        f"--out={tmp_path / 'scores.json'}",
        f"--report={tmp_path / 'page'}",
    )
    assert status == 0, errors
    report = json.loads((tmp_path / "scores.json").read_text())
    assert (report["num_queries"], report["num_skipped"]) == (5, 1)
    assert "1 unreadable images left out" in told
    assert report["recall"] == report["exact_recall"] == {"1": 1.0, "2": 1.0}
    assert set(report["intervals"]) >= {"recall", "exact_recall", "pixels_recall"}
    assert report["intervals"]["recall"] == {"1": [1.0, 1.0], "2": [1.0, 1.0]}
    assert {one["class"] for one in report["classes"]["recall"]} == {
        "class2",
        "class3",
    }
    assert "trained, by ScaNN" in told
    assert "trained, by exact search" in told
    page = (tmp_path / "page" / "index.html").read_text()
    assert "ScaNN less exact" in page
    assert "1 unreadable images left out" in page


def test_a_tower_takes_its_image_size_from_the_model(run_dir, tmp_path):
    tower = [
        f"--saved_model={run_dir / 'saved_model' / '1'}",
        "--dataset=image_folder",
        f"--data_dir={run_dir.parent / 'images'}",
    ]
    out = tmp_path / "scores.json"
    fine, refused = errors_of([[*tower, f"--out={out}"], [*tower, "--image_size=32"]])
    assert fine == ""
    assert set(json.loads(out.read_text())) >= {"recall", "pixels_recall"}
    assert "takes images of 16 pixels. Drop --image_size" in refused


def test_saved_embeddings_are_scored(tmp_path):
    path, out = tmp_path / "arrays.npz", tmp_path / "scores.json"
    np.savez(
        path,
        query_embeddings=np.eye(4)[:3],
        query_labels=["a", "b", "z"],
        gallery_embeddings=np.eye(4),
        gallery_labels=["a", "c", "b", "c"],
    )
    status, told, errors = evaluate(
        f"--embeddings={path}", "--ks=1,4", f"--out={out}", "--search=exact"
    )
    assert status == 0, errors
    report = json.loads(out.read_text())
    intervals = report.pop("intervals")
    metrics = report.pop("metrics")
    assert report == {
        "recall": {"1": 0.5, "4": 1.0},
        "num_queries": 3,
        "num_without_positive": 1,
        "num_gallery": 4,
        "num_skipped": 0,
        "search": "exact",
    }
    # a finds itself; b stands where c's image is, and b's is one of three ties.
    assert metrics == {"precision_at_1": 0.5, "r_precision": 0.5, "map_at_r": 0.5}
    assert intervals["recall"] == {"1": [0.0, 1.0], "4": [1.0, 1.0]}
    assert "50.00" in told
    assert "95 % of test sets: 0.00 to 100.00" in told


def test_scann_tells_how_far_off_it_is(tmp_path):
    pytest.importorskip("scann", reason="ScaNN exists for Linux only")
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(60), 5)
    rows = rng.normal(size=(60, 8))[labels] + 0.7 * rng.normal(size=(300, 8))
    path, out = tmp_path / "arrays.npz", tmp_path / "scores.json"
    np.savez(path, embeddings=rows, labels=labels)
    arguments = [f"--embeddings={path}", "--search=scann", f"--out={out}"]
    status, told, errors = evaluate(*arguments, "--exact_queries=50", "--ks=1,4")
    assert status == 0, errors
    report = json.loads(out.read_text())
    assert report["search"] == "scann"
    assert report["scann"]["num_sample"] == 50
    assert report["scann"]["overlap"] == 1.0
    exact = recall_at_k(rows, labels, (1, 4))
    assert report["recall"] == {str(k): recall for k, recall in exact.items()}
    assert "microseconds each" in told
    assert "metrics" not in report  # exact, which ScaNN is to spare
    for k, (low, high) in report["intervals"]["recall"].items():
        assert low < report["recall"][k] < high

    status, told, errors = evaluate(*arguments, "--ks=1", "--metrics=ranking,classes")
    assert status == 0, errors
    report = json.loads(out.read_text())
    assert report["metrics"]["precision_at_1"] == exact[1]
    assert len(report["intervals"]["map_at_r"]) == 2
    assert len(report["classes"]["recall"]) == 60

    status, told, errors = evaluate(*arguments, "--tune", "--ks=1")
    assert status == 0, errors
    tuned = json.loads(out.read_text())["scann"]["tuned"]
    assert tuned["is_met"]
    assert len(tuned["trials"]) == told.count("us per query") - 1  # and the choice


def test_mistakes_are_told_with_their_mend(tmp_path):
    np.savez(tmp_path / "nan.npz", embeddings=[[1, np.nan], [1, 1]], labels=[0, 0])
    (tmp_path / "flags.cfg").write_text("--image_size=many\n")
    (tmp_path / "recall.json").write_text("{}")
    nan = f"--embeddings={tmp_path}/nan.npz"
    cases = {
        (): "got none of them",
        ("--run_dir=a", "--embeddings=b"): "got --run_dir and --embeddings",
        (f"--embeddings={tmp_path}/none.npz",): "none.npz: no such file",
        (nan,): "1 of 2 rows have NaN",
        (nan, "--ks=0"): "--ks must be whole numbers",
        (nan, "--picture=p.png"): "--picture needs images",
        (nan, "--report=page"): "--report needs images",
        (nan, "--metrics=f1"): "must be among ranking,clustering,classes; got f1",
        (nan, "--dataset=glyphs"): "--dataset would change nothing: to score --embedd",
        (nan, "--reorder=9", "--tune"): "--reorder, --tune says how ScaNN searches",
        (nan, "--search=scann", "--tune", "--leaves=9"): "would fix. Drop one",
        (nan, "--search=scann", "--leaves=1"): "leaves must be 2 or more",
        ("--run_dir=none",): "flags.cfg is missing",
        (f"--run_dir={tmp_path}",): "flags.cfg holds flags that do not parse",
        (f"--saved_model={tmp_path}",): "holds no SavedModel",
    }
    for told, message in zip(errors_of(cases), cases.values(), strict=True):
        assert message in told


def test_a_mistake_is_told_on_stderr_with_status_2():
    status, told, errors = evaluate("--embeddings=none.npz")
    assert (status, told) == (2, "")
    assert "none.npz: no such file" in errors


def test_help_tells_the_flags_of_data_and_towers_too():
    _, told, _ = evaluate("--help")
    for flag in ("--run_dir", "--saved_model", "--out", "--data_dir", "--short_side"):
        assert flag in told
