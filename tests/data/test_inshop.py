"""In-Shop from its official layout: as a TFDS builder, and end to end."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from conftest import encoded, picture
from PIL import Image
from stand_ins import inshop_list

from ms_keras.data import inshop
from ms_keras.data.benchmarks import benchmark_protocol
from ms_keras.data.images import Augmentation
from ms_keras.data.pipeline import training_dataset
from ms_keras.data.published import PUBLISHED, Published, Size
from ms_keras.data.sampler import PKSampler
from ms_keras.retrieval.embedding import pixel_rows
from ms_keras.retrieval.scores import score_protocol

ROWS = [
    *((item, i, "train") for item in (1, 4, 7) for i in range(3)),
    *((item, i, "query") for item in (2, 9) for i in range(2)),
    *((item, i, "gallery") for item in (9, 2) for i in range(2, 4)),
]
SMALL = Published((1,), train=Size(3, 9), test=Size(2, 4), gallery=Size(2, 4))


def look(item, number):
    """Returns a picture's file: those of an item differ little."""
    own, common = picture(100 * item + number, (32, 40)), picture(item, (32, 40))
    return encoded(Image.blend(common, own, 0.02))


def write(folder, zipped, nested=False):
    """Leaves the official download in a folder, as it comes or unpacked."""
    lists, pictures = (folder / "Eval", folder / "Img") if nested else (folder, folder)
    for path in (lists, pictures):
        path.mkdir(parents=True, exist_ok=True)
    (lists / "list_eval_partition.txt").write_text(inshop_list(ROWS))
    files = {
        f"img/WOMEN/Tees/id_{item:08d}/{i}.jpg": look(item, i) for item, i, _ in ROWS
    }
    if zipped:
        with zipfile.ZipFile(pictures / "img.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return
    for name, data in files.items():
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        (pictures / name).write_bytes(data)


class _Download:
    """A download in a folder of its own, for TFDS's own checks of the builder."""

    DATASET_CLASS = inshop.InShop
    SPLITS = {"train": 9, "query": 4, "gallery": 4}
    ZIPPED = False

    @classmethod
    def setUpClass(cls):
        cls.EXAMPLE_DIR = tempfile.mkdtemp()
        write(pathlib.Path(cls.EXAMPLE_DIR), cls.ZIPPED, nested=cls.ZIPPED)
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.EXAMPLE_DIR)

    def test_tags_are_valid(self):
        self.skipTest("tags belong to TFDS's own catalogue")


class UnpackedTest(_Download, tfds.testing.DatasetBuilderTestCase):
    """With `img/`, the list beside it."""


class ZippedTest(_Download, tfds.testing.DatasetBuilderTestCase):
    """With `Img/img.zip` and `Eval/`."""

    ZIPPED = True


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(PUBLISHED, "inshop", SMALL)


@pytest.fixture(params=["unpacked", "unpacked and nested", "tfds"])
def data_dir(tmp_path, request):
    if request.param == "tfds":
        write(tmp_path / "downloads" / "manual", zipped=True)
    else:
        write(tmp_path, zipped=False, nested="nested" in request.param)
    return str(tmp_path)


def test_queries_are_searched_in_the_gallery_whatever_the_source(small, data_dir):
    protocol = benchmark_protocol("inshop", data_dir, (1, 2))
    assert protocol.name == "inshop"
    images = (protocol.train, protocol.test, protocol.gallery)
    for side, rows in zip(("train", "query", "gallery"), images, strict=True):
        expected = [look(n, i) for n, i, where in ROWS if where == side]
        read = [rows.read(tf.constant(i, tf.int64)).numpy() for i in range(len(rows))]
        assert sorted(read) == sorted(expected)  # the very bytes of the files
        for data, label in zip(read, rows.labels, strict=True):
            item = int(rows.class_names[label].removeprefix("id_"))
            assert data in [look(item, i) for i in range(4)]
    assert protocol.test.class_names == protocol.gallery.class_names

    scored = score_protocol(
        {"pixels": pixel_rows}, protocol, image_size=32, short_side=32
    )
    assert scored.scores["pixels"].recall == {1: 1.0, 2: 1.0}
    assert scored.scores["pixels"].counts()["num_queries"] == 4

    sampler = PKSampler(protocol.train.labels, 3, 2)
    batches = training_dataset(protocol.train, sampler, Augmentation(16, 1.0, False))
    pictures, labels = next(iter(batches))
    assert pictures.shape == (6, 16, 16, 3)
    assert set(labels.numpy()) == set(protocol.train.labels)


def test_the_sizes_of_the_real_one_are_asked_for(data_dir):
    message = "gallery: 3985 classes with 12612 images; found .* gallery: 2 classes"
    with pytest.raises(ValueError, match=message):
        benchmark_protocol("inshop", data_dir, (1,))


def test_a_missing_picture_is_named(tmp_path, small):
    write(tmp_path, zipped=False)
    (tmp_path / "img/WOMEN/Tees/id_00000009/3.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 of the 17 .*id_00000009/3\.jpg"):
        benchmark_protocol("inshop", str(tmp_path), (1,))


def prepare(tmp_path):
    inshop.InShop(data_dir=str(tmp_path)).download_and_prepare(
        file_format="array_record"
    )


def test_the_builder_names_what_is_missing(tmp_path):
    manual = tmp_path / "downloads" / "manual"
    write(manual, zipped=False)
    (manual / "img/WOMEN/Tees/id_00000009/3.jpg").unlink()
    with pytest.raises(ValueError, match=r"id_00000009/3\.jpg is missing"):
        prepare(tmp_path)
    shutil.rmtree(manual / "img")
    with pytest.raises(ValueError, match=r"img\.zip is missing. Expected layout"):
        prepare(tmp_path)
    (manual / "img.zip").write_bytes(b"cut short")
    with pytest.raises(ValueError, match=r"img\.zip is no zip file"):
        prepare(tmp_path)
    with zipfile.ZipFile(manual / "img.zip", "w"):
        pass
    with pytest.raises(ValueError, match=r"holds no img/WOMEN/Tees/id_00000001/0\.jpg"):
        prepare(tmp_path)
    (manual / "list_eval_partition.txt").unlink()
    with pytest.raises(ValueError, match=r"list_eval_partition\.txt is missing"):
        prepare(tmp_path)


def test_without_a_download_the_way_to_it_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"(?s)DeepFashion.*archive in --data_dir"):
        benchmark_protocol("inshop", str(tmp_path), (1,))


def test_tfds_finds_it_by_name(tmp_path):
    write(tmp_path / "downloads" / "manual", zipped=True)
    queries = tfds.load("in_shop", split="query", data_dir=str(tmp_path))
    example = next(iter(queries))
    assert example["image"].shape == (40, 32, 3)
    assert example["file_name"].numpy().startswith(b"img/WOMEN/Tees/")


# The command imports these two packages for other uses, and TFDS installs neither.
STAND_IN = """
class DoFn: pass
class PTransform: pass
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return object
"""


def test_the_command_of_tfds_prepares_it_to_be_read_at_random(tmp_path, small):
    write(tmp_path / "manual", zipped=True)
    (tmp_path / "packages").mkdir()
    for package in ("apache_beam", "mlcroissant"):
        (tmp_path / "packages" / f"{package}.py").write_text(STAND_IN)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "packages")}
    data_dir = tmp_path / "prepared"
    command = [sys.executable, "-m", "tensorflow_datasets.scripts.cli.main"]
    command += ["build", "in_shop", "--imports=ms_keras.data.inshop"]
    command += [f"--data_dir={data_dir}", f"--manual_dir={tmp_path / 'manual'}"]
    command += ["--file_format=array_record"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tmp_path / "manual")  # what is prepared needs no download
    assert len(benchmark_protocol("inshop", str(data_dir), (1,)).gallery) == 4
