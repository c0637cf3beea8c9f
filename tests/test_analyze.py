"""The analysis program, as a user runs it: on losses, saved embeddings and a run."""

import csv
import json
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from PIL import Image

from ms_keras import analyze, train
from ms_keras.analysis.run_embeddings import embeddings_of_run
from ms_keras.analysis.style import TITLES
from ms_keras.losses import LOSSES
from ms_keras.retrieval.recall import recall_at_k


def start(*arguments):
    with flagsaver.flagsaver():
        flags.FLAGS(["analyze", *map(str, arguments)])
        return analyze.main()


def numbers(folder, name):
    """Returns a CSV file's rows, after a look at the pictures beside it."""
    with Image.open(folder / f"{name}.png") as image:
        assert image.format == "PNG"
        assert image.getextrema() != ((255, 255),) * 4  # not all white
    root = ElementTree.parse(folder / f"{name}.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    with open(folder / f"{name}.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory):
    """Saved embeddings of 60 images of 6 classes, before and after training."""
    folder = tmp_path_factory.mktemp("embeddings")
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 10)
    for name, noise in (("before", 10), ("after", 0.2)):
        rows = np.eye(6, 16)[labels] + rng.normal(scale=noise, size=(60, 16))
        np.savez(folder / f"{name}.npz", embeddings=rows, labels=labels)
        np.savez(
            folder / f"{name}_gallery.npz",
            query_embeddings=rows[::2],
            query_labels=labels[::2],
            gallery_embeddings=rows[1::2],
            gallery_labels=labels[1::2],
        )
    return folder


BATCH = ("--classes_per_batch=4", "--images_per_class=3", "--batches=5")


def test_losses_are_drawn_and_told_beside_the_paper(tmp_path, capsys):
    out = tmp_path / "made" / "losses"
    assert start(f"--out_dir={out}", "--losses=contrastive,multi_similarity") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[:3] == [
        f"{out / name}.png, .svg, .csv"
        for name in ("weight_curves", "reactions", "similarity_table")
    ]
    row = next(line for line in told if line.startswith("multi_similarity"))
    assert row.split()[-2:] == ["SNP", "agrees"]
    table = numbers(out, "similarity_table")
    reacting = {
        (row["loss"], row["similarity"])
        for row in table
        if row["pair"] == "negative" and row["reacts"] == "1"
    }
    assert reacting == {
        ("contrastive", "S"), *(("multi_similarity", which) for which in "SNP")
    }  # fmt: skip
    curves = numbers(out, "weight_curves")
    assert {row["loss"] for row in curves} == {"contrastive", "multi_similarity"}
    assert {float(row["positive_weight"]) for row in curves[:401]} == {1.0}
    assert {row["moved"] for row in numbers(out, "reactions")} == {"S", "N", "P"}
    assert len(list(out.iterdir())) == 9


def test_every_loss_has_a_title():
    assert set(TITLES) == set(LOSSES)


@pytest.mark.parametrize("gallery", ["", "_gallery"])
def test_saved_embeddings_are_drawn_before_and_after_training(
    embeddings, gallery, tmp_path, capsys
):
    after, before = (embeddings / f"{n}{gallery}.npz" for n in ("after", "before"))
    start(
        f"--out_dir={tmp_path}", f"--embeddings={after}", f"--before={before}", *BATCH
    )
    similarities = numbers(tmp_path, "similarities")
    assert len(similarities) == 2 * 100
    pairs = {"": 60 * 59 // 2, "_gallery": 30 * 30}[gallery]
    for state in ("before training", "after training"):
        mine = [row for row in similarities if row["state"] == state]
        counts = [int(r["positive_pairs"]) + int(r["negative_pairs"]) for r in mine]
        assert sum(counts) == pairs
    kept = numbers(tmp_path, "pairs_multi_similarity")
    assert len(kept) == 2 * 5 * 12

    def mean(state, field):
        return np.mean([float(row[field]) for row in kept if row["state"] == state])

    before, after = (
        mean(f"{s} training", "kept_negatives") for s in ("before", "after")
    )
    assert before > 6 > 1 > after  # of 9, or of 12: the classes came apart
    told = capsys.readouterr().out
    assert "before training: per anchor" in told
    assert f"and {after:.2f} negatives kept" in told


def test_named_losses_keep_pairs_beside_the_one_of_the_flags(embeddings, tmp_path):
    start(
        f"--out_dir={tmp_path}", f"--embeddings={embeddings}/after.npz",
        "--losses=contrastive", "--loss=triplet", "--margin=0.3", *BATCH,
    )  # fmt: skip
    names = {path.name for path in tmp_path.glob("*.csv")}
    assert names == {"similarities.csv", "pairs_contrastive.csv", "pairs_triplet.csv"}
    kept = numbers(tmp_path, "pairs_contrastive")
    assert {row["state"] for row in kept} == {"embeddings"}
    assert {row["kept_positives"] for row in kept} == {"2"}


def test_the_same_embeddings_give_the_same_files(embeddings, tmp_path):
    files = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        start(f"--out_dir={folder}", f"--embeddings={embeddings}/after.npz", *BATCH)
        files.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert len(files[0]) == 6
    assert files[0] == files[1]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run of a few steps on eight classes of six pictures: a colour, with noise."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for label in range(8):
        colour = rng.uniform(0, 255, 3)
        (root / f"class{label}").mkdir()
        for number in range(6):
            noisy = colour + rng.normal(scale=60, size=(20, 20, 3))
            pixels = np.clip(noisy, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"class{label}" / f"{number}.png")
    run = tmp_path_factory.mktemp("runs") / "run"
    with flagsaver.flagsaver():
        flags.FLAGS([
            "train", "--dataset=image_folder", f"--data_dir={root}",
            f"--run_dir={run}", "--backbone=small_conv", "--weights=none",
            "--image_size=16", "--embedding_dim=8", "--classes_per_batch=3",
            "--images_per_class=4", "--steps=4", "--eval_every=4", "--seed=5",
            "--learning_rate=1e-2", "--ks=1,2", "--epsilon=0.2",
        ])  # fmt: skip
        assert train.main() == 0
    return run


def test_the_tower_before_training_is_the_one_that_the_run_began_with(run_dir):
    with flagsaver.flagsaver():
        flags.FLAGS(["analyze"])
        states = embeddings_of_run(run_dir, "last")
    report = json.loads((run_dir / "recall.json").read_text())
    for state, name in (("before", "frozen_recall"), ("after", "recall")):
        rows, labels = states[f"{state} training"][:2]
        found = recall_at_k(rows, labels, ks=(1, 2))
        assert {str(k): v for k, v in found.items()} == pytest.approx(report[name])
    rows = [arrays.embeddings for arrays in states.values()]
    assert not np.allclose(*rows, atol=1e-3)


def test_a_run_is_drawn_with_its_own_loss_and_batches(run_dir, tmp_path):
    start(f"--out_dir={tmp_path}", f"--run_dir={run_dir}", "--batches=2")
    kept = numbers(tmp_path, "pairs_multi_similarity")
    assert len(kept) == 2 * 2 * 3 * 4
    assert [row["state"] for row in kept[::24]] == ["before training", "after training"]
    similarities = numbers(tmp_path, "similarities")
    positives = sum(int(row["positive_pairs"]) for row in similarities)
    assert positives == 2 * 4 * (6 * 5 // 2)  # the last half of the classes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--out_dir is missing"),
        (["--out_dir={file}"], "--out_dir must be a folder; .* is a file"),
        (["--out_dir=o", "--losses=hinge"], "must be of contrastive, .* got 'hinge'"),
        (["--out_dir=o", "--before=b.npz"], "--before goes with --embeddings"),
        (["--out_dir=o", "--run_dir=r", "--embeddings=e"], "--run_dir or --embeddings"),
        (["--out_dir=o", "--run_dir=none"], "none is not the folder of a run"),
        (["--out_dir=o", "--embeddings=none.npz"], "none.npz: no such file"),
        (["--out_dir=o", "--embeddings={nan}"], "embeddings: .* 1 of 2 rows have NaN"),
        (["--out_dir=o", "--embeddings={after}"], "needs 16 classes; .* have 6"),
        (
            ["--out_dir=o", "--embeddings={after}", "--before={other}"],
            "same images in the same order; their labels differ",
        ),
        (
            ["--out_dir=o", "--embeddings={after}", "--loss=tfa:npairs"],
            "--loss=tfa:npairs tells no pair weights",
        ),
    ],
)
def test_mistakes_are_told_with_their_mend(
    arguments, message, embeddings, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "nan.npz", embeddings=[[1, np.nan], [1, 1]], labels=[0, 1])
    np.savez(tmp_path / "other.npz", embeddings=np.eye(4), labels=[0, 0, 1, 1])
    paths = {
        "file": tmp_path / "nan.npz", "nan": tmp_path / "nan.npz",
        "other": tmp_path / "other.npz", "after": embeddings / "after.npz",
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        start(*(argument.format(**paths) for argument in arguments))
    assert not (tmp_path / "o").exists()


def test_a_mistake_is_told_on_stderr_with_status_2(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "ms_keras.analyze"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "Error: --out_dir is missing" in done.stderr
