"""`python -m export.index`, as a user types it."""

import importlib
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ms_keras.models import build_tower
from ms_keras.serving import save_serving_model

ROOT = pathlib.Path(__file__).parents[2]
SIZE, SHORT_SIDE, DIM = 32, 36, 8


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    Image.fromarray(cells).resize((48, 40)).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tower, images in folders, and further images."""
    folder = tmp_path_factory.mktemp("index")
    # By some random weights a picture is nearer to another than bfloat16 tells apart.
    tf.keras.utils.set_random_seed(0)
    tower = build_tower("small_conv", DIM, SIZE, weights=None)
    save_serving_model(tower, folder / "birds/1", short_side=SHORT_SIDE)
    for seed in range(70):  # more than a batch
        picture(folder / f"images/class {seed % 3}/{seed}.png", seed)
    for seed in range(70, 74):
        picture(folder / f"new/{seed}.jpg", seed)
    (folder / "broken").mkdir()
    (folder / "broken/half.jpg").write_bytes((folder / "new/70.jpg").read_bytes()[:300])
    picture(folder / "broken/whole.jpg", 99)
    return folder


def index(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "export.index", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def made(finished):
    """Returns the folder that a run of the program printed."""
    assert finished.returncode == 0, finished.stderr
    return pathlib.Path(finished.stdout.splitlines()[-1].split(": ")[1])


def about(version):
    return json.loads((version / "assets/model_card.json").read_text())["catalogue"]


def count_of(version):
    loaded = tf.saved_model.load(str(version))
    count = about(version)["count"]
    assert loaded.ids.shape == (count,)
    assert loaded.lookup.rows.shape == (count, DIM)
    return count


def found(version, *files):
    if about(version)["search"] == "scann":
        importlib.import_module("scann.scann_ops.py.scann_ops")
    loaded = tf.saved_model.load(str(version))
    contents = tf.constant([file.read_bytes() for file in files])
    answer = loaded.signatures["serving_default"](image_bytes=contents)
    return [[i.decode() for i in row] for row in answer["ids"].numpy()], answer[
        "scores"
    ].numpy()


@pytest.mark.parametrize("search", ["exact", "scann"])
def test_images_of_a_folder_find_themselves(folder, search, tmp_path):
    if search == "scann":
        pytest.importorskip("scann")
    images = folder / "images"
    finished = index(
        f"--tower={folder}/birds/1",
        f"--images={images}",
        f"--out={tmp_path}/c",
        f"--search={search}",
        "--k=3",
    )
    version = made(finished)
    assert version == tmp_path / "c/1"
    files = sorted(images.rglob("*.png"))
    ids, scores = found(version, *files)
    assert [row[0] for row in ids] == [str(f.relative_to(images)) for f in files]
    np.testing.assert_allclose(scores[:, 0], 1, atol=1e-5)
    told = about(version)
    assert (told["count"], told["k"], told["search"]) == (70, 3, search)


def test_a_list_names_its_images(folder, tmp_path):
    lines = ["images/class 0/0.png,first", "images/class 1/1.png", "", "new/70.jpg, é"]
    (folder / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    version = made(
        index(
            f"--tower={folder}/birds/1",
            f"--list={folder}/list.csv",
            f"--out={tmp_path}/c",
        )
    )
    ids, _ = found(version, folder / "new/70.jpg")
    assert ids[0][0] == "é"
    assert set(ids[0]) == {"first", "images/class 1/1.png", "é"}


def test_a_data_set_names_places_of_its_split(folder, tmp_path):
    version = made(
        index(
            f"--tower={folder}/birds/1",
            "--dataset=glyphs",
            "--split=test[:1%]",
            f"--out={tmp_path}/c",
        )
    )
    loaded = tf.saved_model.load(str(version))
    names = [name.decode() for name in loaded.ids.numpy()]
    assert names[0] == "glyphs/test[:1%][0]"
    assert len(names) > 5


def test_a_catalogue_grows_shrinks_and_keeps_its_rows(folder, tmp_path):
    out = f"--out={tmp_path}/c"
    first = made(index(f"--tower={folder}/birds/1", f"--images={folder}/images", out))
    (tmp_path / "sold.txt").write_text("class 0/0.png\nclass 1/1.png\n")
    second = made(
        index(
            f"--extend={first}",
            f"--images={folder}/new",
            f"--remove={tmp_path}/sold.txt",
            "--dtype=bfloat16",
            out,
        )
    )
    assert second == tmp_path / "c/2"
    old, new = (tf.saved_model.load(str(version)) for version in (first, second))
    before, after = old.ids.numpy().tolist(), new.ids.numpy().tolist()
    assert after == [
        *(i for i in before if i not in (b"class 0/0.png", b"class 1/1.png")),
        *(f"{seed}.jpg".encode() for seed in range(70, 74)),
    ]
    kept = [before.index(name) for name in after[:-4]]
    np.testing.assert_allclose(
        tf.cast(new.lookup.rows, tf.float32)[:-4],
        old.lookup.rows.numpy()[kept],
        atol=4e-3,
    )
    ids, _ = found(second, folder / "new/72.jpg")
    assert ids[0][0] == "72.jpg"
    # Again the same images: refused, or left alone, or embedded anew.
    again = (f"--extend={second}", f"--images={folder}/new", out)
    refused = index(*again)
    assert refused.returncode == 2
    assert "4 of 4 new ids are in the catalogue already" in refused.stderr
    assert not (tmp_path / "c/3").exists()
    for number, choice in enumerate(("keep", "replace"), start=3):
        version = made(index(*again, f"--on_duplicate={choice}"))
        assert version.name == str(number)
        assert count_of(version) == 72


def test_unreadable_images_are_named_or_left_out(folder, tmp_path):
    arguments = (
        f"--tower={folder}/birds/1",
        f"--images={folder}/broken",
        f"--out={tmp_path}/c",
    )
    refused = index(*arguments)
    assert refused.returncode == 2
    assert "half.jpg" in refused.stderr
    assert "--skip_unreadable" in refused.stderr
    assert not (tmp_path / "c").exists()
    finished = index(*arguments, "--skip_unreadable")
    version = made(finished)
    assert "Left out 1 images" in finished.stdout
    assert found(version, folder / "broken/whole.jpg")[0] == [["whole.jpg"]]


NEW = ("--tower={1}/birds/1", "--images={1}/new", "--warmup=no")
# What a test puts in the place of parts of the program, before it runs.
EMBEDDING_IS_A_FAILURE = """
def of_images(*_): raise SystemExit("images were embedded")
index.of_images = of_images
"""
WITHOUT_PACKAGES = """
import sys
for name in ("scann", "tensorflow_serving"): sys.modules[name] = None
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = (
    lambda name, package=None: None if name == "tensorflow_serving" else find(name)
)
"""
TAKES_THE_NUMBER = """
import pathlib
embed = index.of_images
def of_images(*arguments):
    theirs = pathlib.Path(index.FLAGS.out, "1", "saved_model.pb")
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    return embed(*arguments)
index.of_images = of_images
"""
FULL_DISK = """
import tensorflow as tf
def save(*_, **__): raise OSError(28, "No space left on device")
tf.saved_model.save = save
"""


def patched(code, *arguments):
    program = f"from export import index\n{code}\nindex.program.run(index.main)"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out={0}/file/c",), "file is a file"),
        (("--out={0}/c", "--search=scann", "--dtype=bfloat16"), "ScaNN keeps float32"),
        (("--out={0}/c", "--search=scann", "--leaves=1"), "leaves must be 2 or more"),
        (
            ("--out={0}/c", "--search=scann", "--leaves=3", "--leaves_to_search=4"),
            "leaves_to_search must be 1 to the 3",
        ),
        (("--out={0}/c", "--search=scann"), "package scann, which cannot be imported"),
        (("--out={0}/c", "--warmup=yes"), "need the package tensorflow-serving-api"),
    ],
)
def test_what_is_wrong_is_found_before_images_are_embedded(
    folder, tmp_path, arguments, message
):
    (tmp_path / "file").write_text("")
    finished = patched(
        EMBEDDING_IS_A_FAILURE + WITHOUT_PACKAGES,
        *(a.format(tmp_path, folder) for a in (*NEW, *arguments)),
    )
    assert message in finished.stderr
    assert finished.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_another_export_may_take_the_number_meanwhile(folder, tmp_path):
    arguments = (a.format(tmp_path, folder) for a in (*NEW, "--out={0}/c"))
    version = made(patched(TAKES_THE_NUMBER, *arguments))
    assert version == tmp_path / "c/2"
    assert count_of(version) == 4
    assert (tmp_path / "c/1/saved_model.pb").read_text() == "theirs"


def test_a_full_disk_is_told_without_a_traceback(folder, tmp_path):
    arguments = (a.format(tmp_path, folder) for a in (*NEW, "--out={0}/c"))
    finished = patched(FULL_DISK, *arguments)
    assert finished.returncode == 1
    assert "Error: [Errno 28] No space left on device" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_gif_is_named_as_one(folder, tmp_path):
    picture(tmp_path / "images/a.png", 1)
    picture(tmp_path / "images/b.gif", 2)
    arguments = (
        f"--tower={folder}/birds/1",
        f"--images={tmp_path}/images",
        f"--out={tmp_path}/c",
    )
    refused = index(*arguments)
    assert refused.returncode == 2
    assert "cannot read b.gif: a GIF" in refused.stderr
    assert count_of(made(index(*arguments, "--skip_unreadable"))) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--out is missing"),
        (("--out={0}/c",), "either --tower"),
        (("--out={0}/c", "--tower={1}/birds/1", "--extend={0}"), "either --tower"),
        (("--out={0}/c", "--tower={1}/birds/1"), "Name images"),
        (
            ("--out={0}/c", "--tower={1}/birds/1", "--images={1}/new", "--list=x"),
            "in one way; got --images and --list",
        ),
        (("--out={0}/c", "--tower={1}/none", "--images={1}/new"), "no SavedModel"),
        (("--out={0}/c", "--tower={1}/birds/1", "--images={1}/none"), "neither"),
        (("--out={0}/c", "--tower={1}/birds/1", "--list={1}/none"), "cannot be read"),
        (
            ("--out={0}/c", "--tower={1}/birds/1", "--images={1}/new", "--reorder=9"),
            "--search=scann",
        ),
        (
            ("--out={0}/c", "--tower={1}/birds/1", "--images={1}/new", "--remove=x"),
            "--extend",
        ),
        (("--out={0}/c", "--extend={1}/birds/1"), "holds no catalogue"),
        (("--out={1}/birds/1/saved_model.pb", "--tower=x"), "must be a folder"),
        (
            (
                "--out={0}/c",
                "--tower={1}/birds/1",
                "--images={1}/new",
                "--images={1}/new",
            ),
            "4 ids stand for more than one",
        ),
    ],
)
def test_bad_requests_are_explained_and_leave_nothing(
    folder, tmp_path, arguments, message
):
    finished = index(*(a.format(tmp_path, folder) for a in arguments))
    assert finished.returncode == 2
    assert message in finished.stderr
    assert list(tmp_path.iterdir()) == []
