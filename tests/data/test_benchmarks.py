"""The published protocols: sizes, flags, archives on the disk, and TFDS's builders."""

import tarfile
import unittest.mock

import numpy as np
import pytest
import stand_ins
import tensorflow as tf
import tensorflow_datasets as tfds
from absl.testing import flagsaver
from conftest import encoded, picture
from tensorflow_datasets.core.download import download_manager, extractor

from ms_keras.data import benchmarks, flags, tfds_source
from ms_keras.data.benchmarks import benchmark_protocol
from ms_keras.data.published import PUBLISHED, Published, Size


@pytest.fixture
def unseen_pictures(monkeypatch):
    """Has lists taken at their word."""
    monkeypatch.setattr(benchmarks, "check_files", lambda lists: None)


@pytest.fixture
def of_flags():
    with flagsaver.flagsaver():
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        yield flags.protocol_from_flags


def sizes(protocol):
    sides = (protocol.train, protocol.test, protocol.gallery)
    return [
        (len(np.unique(side.labels)), len(side)) for side in sides if side is not None
    ]


FULL = {
    "cub200": [(100, 5864), (100, 5924)],
    "cars196": [(98, 8054), (98, 8131)],
    "sop": [(11318, 59551), (11316, 60502)],
    "inshop": [(3997, 25882), (3985, 14218), (3985, 12612)],
}


@pytest.mark.parametrize("name", ["cub200", "sop", "inshop"])
def test_archives_of_full_size_are_as_published(tmp_path, unseen_pictures, name):
    getattr(stand_ins, name)(tmp_path)
    protocol = benchmark_protocol(name, str(tmp_path), (1,))
    assert protocol.name == name
    assert sizes(protocol) == FULL[name]
    shared = set(protocol.train.class_names) & set(protocol.test.class_names)
    assert not shared


@pytest.mark.parametrize(
    "archive", [stand_ins.cars196_one_archive, stand_ins.cars196_two_archives]
)
def test_both_forms_of_cars_are_pooled_and_divided_by_class(
    tmp_path, monkeypatch, unseen_pictures, archive
):
    archive(tmp_path, monkeypatch)
    protocol = benchmark_protocol("cars196", str(tmp_path), (1,))
    assert sizes(protocol) == FULL["cars196"]
    assert protocol.train.class_names == tuple(f"Car {n}" for n in range(1, 99))
    paths = {protocol.train.image_name(i) for i in range(len(protocol.train))}
    assert len(paths) == len(protocol.train)  # names repeat, paths do not


def test_the_real_birds_are_as_published(tmp_path, test_data):
    """By the names in the archive; its photographs stay where they are."""
    with tarfile.open(test_data / "cub200_2011_s160.tar") as archive:
        names = archive.getnames()
    for folder in {name.rsplit("/", 1)[0] for name in names}:
        (tmp_path / folder).mkdir(parents=True)
    for name in names:
        (tmp_path / name).touch()
    for data_dir in (tmp_path, tmp_path / "images"):
        protocol = benchmark_protocol("cub200", str(data_dir), (1,))
        assert sizes(protocol) == FULL["cub200"]
        assert protocol.train.class_names[-1].startswith("100.")
        assert protocol.test.class_names[0].startswith("101.")


def test_other_numbers_than_published_are_told(tmp_path, unseen_pictures):
    stand_ins.sop(tmp_path)
    file = tmp_path / "Stanford_Online_Products" / "Ebay_test.txt"
    file.write_text("\n".join(file.read_text().splitlines()[:-2]))
    message = (
        "train: 11318 classes with 59551 images, test: 11316 classes with 60502 "
        "images; found .*, test: 11316 classes with 60500 images.* Unpack the official"
    )
    with pytest.raises(ValueError, match=message):
        benchmark_protocol("sop", str(tmp_path), (1,))


def test_pictures_that_are_missing_are_named(tmp_path):
    stand_ins.cub200(tmp_path)
    with pytest.raises(
        ValueError, match=r"11788 of the 11788 .* first .*Bird_1/1\.jpg"
    ):
        benchmark_protocol("cub200", str(tmp_path), (1,))


def test_the_papers_have_ks_of_their_own_unless_some_are_given(
    tmp_path, of_flags, unseen_pictures
):
    stand_ins.cub200(tmp_path)
    given = {"dataset": "cub200", "data_dir": str(tmp_path)}
    with flagsaver.flagsaver(**given):
        assert of_flags().ks == (1, 2, 4, 8, 16, 32)
        # A run notes its flags, and is scored again by them.
        assert flags.FLAGS["ks"].serialize() == "--ks=1,2,4,8,16,32"
        assert flags.ks_from_flags() == (1, 2, 4, 8, 16, 32)
    with flagsaver.flagsaver(**given, ks=["1", "2", "4", "8"]):
        assert of_flags().ks == (1, 2, 4, 8)
    assert flags.ks_from_flags() == (1, 2, 4, 8)
    assert PUBLISHED["cars196"].ks == (1, 2, 4, 8, 16, 32)
    assert PUBLISHED["sop"].ks == (1, 10, 100, 1000)
    assert PUBLISHED["inshop"].ks == (1, 10, 20, 30, 40, 50)


def test_another_split_of_a_benchmark_is_refused(tmp_path, of_flags, unseen_pictures):
    stand_ins.cub200(tmp_path)
    with flagsaver.flagsaver(
        dataset="cub200", data_dir=str(tmp_path), test_classes="101-200"
    ):
        assert sizes(of_flags()) == FULL["cub200"]  # its own, spelt out
    for flag, value in {"test_classes": "0.5", "test_split": "train"}.items():
        with (
            flagsaver.flagsaver(**{"dataset": "cub200", flag: value}),
            pytest.raises(ValueError, match=f"split of its own; got --{flag}={value}"),
        ):
            of_flags()


BIRDS = "image_classification.caltech_birds.CaltechBirds2011"
CARS = "image_classification.cars196.Cars196"
PRODUCTS = (
    "datasets.stanford_online_products.stanford_online_products_dataset_builder.Builder"
)
PIXELS = np.zeros((4, 4, 3), np.uint8)
BOX = tfds.features.BBox(0.0, 0.0, 1.0, 1.0)


def bird(label):
    return {
        "image": PIXELS,
        "image/filename": "1.jpg",
        "label": label,
        "label_name": "bird",
        "bbox": BOX,
        "segmentation_mask": PIXELS[..., :1],
    }


def car(label):
    return {"image": PIXELS, "label": label, "bbox": BOX, "id": "1"}


def product(label):
    kinds = {"super_class_id/num": 0, "super_class_id": "mug"}
    return {"image": PIXELS, "class_id": label, **kinds}


@pytest.mark.parametrize(
    ("name", "builder", "example", "train", "test"),
    [
        ("cub200", BIRDS, bird, [0, 1, 2, 2], [1, 2, 0]),
        ("cars196", CARS, car, [0, 1, 2, 2], [1, 2, 0]),
        ("sop", PRODUCTS, product, [0, 1, 1, 0], [2, 2, 2]),
    ],
)
def test_builders_of_tfds_are_the_other_source(
    tmp_path, monkeypatch, name, builder, example, train, test
):
    """Their own splits are pooled where the papers divide by class."""

    def split_generators(self, dl_manager):
        sides = {"train": train, "test": test}
        return {k: [(i, example(n)) for i, n in enumerate(v)] for k, v in sides.items()}

    published = PUBLISHED[name]
    train_classes = published.train_classes and 2
    small = Published((1,), Size(2, 4), Size(1, 3), train_classes=train_classes)
    monkeypatch.setitem(PUBLISHED, name, small)
    with unittest.mock.patch(
        f"tensorflow_datasets.{builder}._split_generators", split_generators
    ):
        protocol = benchmark_protocol(name, str(tmp_path), (1,))
    assert protocol.name == name
    assert sorted(protocol.train.labels.tolist()) == [0, 0, 1, 1]
    assert protocol.test.labels.tolist() == [2, 2, 2]
    pixels = tf.io.decode_image(protocol.test.read(tf.constant(2, tf.int64)))
    np.testing.assert_array_equal(pixels, PIXELS)
    monkeypatch.setitem(PUBLISHED, name, published)
    with pytest.raises(ValueError, match=r"not as published.* Delete TFDS's"):
        benchmark_protocol(name, str(tmp_path), (1,))


def test_without_archive_and_network_both_ways_are_told(tmp_path, monkeypatch):
    def offline(*args):
        raise ConnectionError("no network")

    monkeypatch.setattr(tfds_source, "_prepared", offline)
    message = "no unpacked archive.* cannot prepare cars196: no network\n.*car_ims/"
    with pytest.raises(ValueError, match=message):
        benchmark_protocol("cars196", str(tmp_path), (1,))


@pytest.mark.parametrize("checksums", [True, False])
def test_a_host_that_answers_with_a_page_is_told_too(tmp_path, monkeypatch, checksums):
    """By the checksum, or, where TFDS has none of it, when it is no archive."""
    page = tmp_path / "cars_train.tgz"
    page.write_text("<html>This page has moved.</html>")
    extract, gzip = extractor.get_extractor(), tfds.download.ExtractMethod.TAR_GZ

    def moved(*args):
        if checksums:
            raise download_manager.NonMatchingChecksumError("cars_train.tgz: other")
        with extract.tqdm():
            return extract.extract(page, gzip, tmp_path / "to").get()

    monkeypatch.setattr(tfds_source, "_prepared", moved)
    message = r"cannot prepare cars196: .*cars_train.tgz[\s\S]*car_ims/"
    with pytest.raises(ValueError, match=message):
        benchmark_protocol("cars196", str(tmp_path), (1,))


def test_a_folder_that_does_not_exist_is_told_before_any_download():
    with pytest.raises(ValueError, match="no such folder"):
        benchmark_protocol("sop", "/no/such/folder", (1,))


def test_pictures_are_read_from_an_archive(tmp_path, monkeypatch):
    small = Published((1,), Size(1, 1), Size(1, 2), train_classes=1)
    monkeypatch.setitem(PUBLISHED, "cub200", small)
    for number, (name, file) in enumerate(
        [("001.A", "1"), ("002.B", "2"), ("002.B", "3")]
    ):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{file}.jpg").write_bytes(encoded(picture(number)))
    protocol = benchmark_protocol("cub200", str(tmp_path), (1,))
    read = protocol.test.read(tf.constant(1, tf.int64)).numpy()
    assert read == (tmp_path / "images" / "002.B" / "3.jpg").read_bytes()
