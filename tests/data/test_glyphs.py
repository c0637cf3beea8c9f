"""The built-in data set as a TFDS builder, and TFDS names as protocols."""

import os
import unittest.mock

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.data_sources.array_record import ArrayRecordDataSource

from ms_keras.data import glyphs
from ms_keras.data.drawings import SIZE, characters, draw
from ms_keras.data.glyphs import Glyphs, class_name, split_characters
from ms_keras.data.images import Augmentation
from ms_keras.data.pipeline import training_dataset
from ms_keras.data.sampler import PKSampler
from ms_keras.data.tfds_source import tfds_protocol

DRAWINGS = 3  # of each character, to be quick


@pytest.fixture(scope="module", autouse=True)
def few_drawings():
    with unittest.mock.patch.object(glyphs, "DRAWINGS", DRAWINGS):
        yield


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


@pytest.fixture(scope="module")
def protocol(tfds_dir, few_drawings):
    return tfds_protocol("glyphs", tfds_dir, "train", "test", "", (1,))


class GlyphsTest(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own checks of a builder."""

    DATASET_CLASS = Glyphs
    SPLITS = {
        "train": DRAWINGS * len(split_characters()[0]),
        "test": DRAWINGS * len(split_characters()[1]),
    }
    SKIP_CHECKSUMS = True
    EXAMPLE_DIR = "."  # nothing is downloaded

    def test_tags_are_valid(self):
        self.skipTest("tags belong to TFDS's own catalogue")


def test_hundreds_of_characters_half_of_them_held_out():
    train, test = split_characters()
    assert len(train) >= 150
    assert abs(len(train) - len(test)) <= 1
    assert not set(train) & set(test)
    assert sorted(train + test) == list(characters())


def test_drawings_repeat_and_vary():
    rng = np.random.default_rng
    one, again, other = (draw("B", rng([66, n])) for n in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one.astype(float) - other).mean() > 5
    assert one.shape == (SIZE, SIZE)
    assert one.dtype == np.uint8


def test_the_protocol_holds_every_drawing_by_index(protocol):
    train, test = split_characters()
    for images, subset in ((protocol.train, train), (protocol.test, test)):
        counts = np.bincount(images.labels)
        assert set(counts[counts > 0]) == {DRAWINGS}
        names = {images.class_names[label] for label in images.labels}
        assert names == {class_name(character) for character in subset}
    index = 123
    encoded = protocol.test.read(tf.constant(index, tf.int64))
    grey = tf.io.decode_png(encoded)[..., 0].numpy()
    name = protocol.test.class_names[protocol.test.labels[index]]
    drawings = [
        draw(name[-1], np.random.default_rng([ord(name[-1]), n]))
        for n in range(DRAWINGS)
    ]
    assert any((grey == drawing).all() for drawing in drawings)
    assert protocol.test.image_name(index) == "glyphs/test[123]"


def test_splits_can_be_pooled_and_divided_by_class(tfds_dir, protocol):
    names = protocol.test.class_names
    divided = tfds_protocol("glyphs", tfds_dir, "train", "test", "1-10", (1,))
    assert set(divided.test.labels.tolist()) == set(range(10))
    assert len(divided.train) + len(divided.test) == DRAWINGS * len(characters())
    for index in (0, len(divided.test) - 1):
        encoded = divided.test.read(tf.constant(index, tf.int64)).numpy()
        name = names[divided.test.labels[index]]
        grey = tf.io.decode_png(encoded)[..., 0].numpy()
        assert any(
            (grey == draw(name[-1], np.random.default_rng([ord(name[-1]), n]))).all()
            for n in range(DRAWINGS)
        )
        assert divided.test.image_name(index).startswith("glyphs/t")


def test_training_reads_the_drawings(protocol):
    images = protocol.train
    sampler = PKSampler(images.labels, 4, 2)
    dataset = training_dataset(images, sampler, Augmentation(16, 1.0, flip=False))
    for step, (pictures, labels) in enumerate(dataset.take(2)):
        batch = sampler.batch(step)
        np.testing.assert_array_equal(labels, images.labels[batch])
        for picture, index in zip(pictures, batch, strict=True):
            whole = tf.io.decode_png(images.read(tf.constant(index)), channels=3)
            assert abs(np.mean(picture) - np.mean(whole)) < 12  # a crop of it


@pytest.mark.parametrize(
    ("name", "train", "message"),
    [
        ("glyps", "train", "Close: .*glyphs"),
        ("glyphs", "trian", "no split 'trian'"),
        ("image-folder", "train", "Close: image_folder"),
        ("a/b/c", "train", "expected image_folder, image_list, glyphs or"),
        ("", "train", "expected image_folder, image_list, glyphs or"),
    ],
)
def test_unknown_names_and_splits_are_told(tfds_dir, protocol, name, train, message):
    with pytest.raises(ValueError, match=message):
        tfds_protocol(name, tfds_dir, train, "test", "", (1,))


class OddColours(tfds.core.GeneratorBasedBuilder):
    """A data set whose features have names of their own."""

    VERSION = tfds.core.Version("1.0.0")
    FEATURES = {
        "picture": tfds.features.Image(shape=(None, None, 3)),
        "kind": tfds.features.ClassLabel(names=["red", "green"]),
        "width": tfds.features.Scalar(np.int64),
    }
    SUPERVISED_KEYS = None

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(self.FEATURES),
            supervised_keys=self.SUPERVISED_KEYS,
        )

    def _split_generators(self, dl_manager):
        return {"whole": self._generate_examples()}

    def _generate_examples(self):
        for i in range(4):
            yield i, self.example(i)

    def example(self, i):
        picture = np.full((5, 6 + i, 3), 60 * i, np.uint8)
        return {"picture": picture, "kind": i % 2, "width": 6 + i}


class TwoPictures(OddColours):
    """A data set in which it is not clear what the image is."""

    FEATURES = {**OddColours.FEATURES, "other": tfds.features.Image()}

    def example(self, i):
        example = super().example(i)
        return {**example, "other": example["picture"]}


class MaskedPictures(TwoPictures):
    """A data set with a second image, like the masks of caltech_birds2011."""

    SUPERVISED_KEYS = ("picture", "kind")


class ProductsAndKinds(OddColours):
    """Two labels, none of them declared, as in stanford_online_products."""

    FEATURES = {
        **OddColours.FEATURES,
        "product": tfds.features.ClassLabel(num_classes=4),
    }

    def example(self, i):
        return {**super().example(i), "product": 3 - i}


class HiddenLabels(OddColours):
    """A data set that keeps the labels of its split to itself."""

    def example(self, i):
        return {**super().example(i), "kind": -1}


def whole(name, tfds_dir, test_classes=""):
    return tfds_protocol(name, tfds_dir, "whole", "whole", test_classes, (1,))


def test_image_and_label_are_found_by_kind(tfds_dir):
    protocol = whole("odd_colours", tfds_dir, "green")
    assert protocol.test.labels.tolist() == [1, 1]
    assert protocol.train.labels.tolist() == [0, 0]
    widths = set()
    for index in range(2):
        encoded = protocol.test.read(tf.constant(index, tf.int64))
        widths.add(tf.io.decode_image(encoded).shape[1])
    assert widths == {7, 9}  # those of the odd examples


def test_declared_features_win_over_others_of_their_kind(tfds_dir):
    images = whole("masked_pictures", tfds_dir).test
    assert sorted(images.labels.tolist()) == [0, 0, 1, 1]
    assert images.class_names == ("red", "green")


def test_of_several_labels_the_finest_is_learned(tfds_dir):
    images = whole("products_and_kinds", tfds_dir).test
    assert sorted(images.labels.tolist()) == [0, 1, 2, 3]
    assert len(images.class_names) == 4


def test_no_other_feature_is_decoded(tfds_dir):
    with unittest.mock.patch.object(
        tfds.features.Image, "decode_example", side_effect=AssertionError
    ):
        whole("masked_pictures", tfds_dir).test.read(tf.constant(0, tf.int64))


def test_a_second_start_reads_no_record(tmp_path):
    first = whole("odd_colours", str(tmp_path), "green")
    with unittest.mock.patch.object(
        ArrayRecordDataSource, "__getitem__", side_effect=AssertionError
    ):
        second = whole("odd_colours", str(tmp_path), "green")
    for side in ("train", "test"):
        one, other = getattr(first, side), getattr(second, side)
        np.testing.assert_array_equal(one.labels, other.labels)
    encoded = second.test.read(tf.constant(1, tf.int64))
    assert encoded == first.test.read(tf.constant(1, tf.int64))


def test_records_that_changed_are_read_anew(tmp_path):
    whole("odd_colours", str(tmp_path))
    (records,) = tmp_path.rglob("*.array_record*")
    later = records.stat().st_mtime + 60
    os.utime(records, (later, later))
    with (
        unittest.mock.patch.object(
            ArrayRecordDataSource, "__getitem__", side_effect=AssertionError
        ),
        pytest.raises(AssertionError),
    ):
        whole("odd_colours", str(tmp_path))


def test_an_ambiguous_data_set_is_told(tfds_dir):
    with pytest.raises(ValueError, match="must have one image and one label"):
        whole("two_pictures", tfds_dir)


def test_a_split_without_labels_is_told(tfds_dir):
    with pytest.raises(
        ValueError, match="4 of 4 images of split 'whole' lack a 'kind'"
    ):
        whole("hidden_labels", tfds_dir)


def test_a_data_set_prepared_without_random_access_is_told(tmp_path):
    OddColours(data_dir=str(tmp_path)).download_and_prepare(file_format="tfrecord")
    with pytest.raises(ValueError, match=r"prepared as tfrecord .* another --data_dir"):
        whole("odd_colours", str(tmp_path))


@pytest.mark.parametrize("moment", ["download_and_prepare", "_split_generators"])
def test_another_process_may_prepare_the_same_data_set_meanwhile(tmp_path, moment):
    """Before this one begins, or before it ends."""
    original = getattr(OddColours, moment)
    others = [OddColours(data_dir=str(tmp_path))]

    def overtaken(self, *args, **kwargs):
        while others:
            others.pop().download_and_prepare(file_format="array_record")
        return original(self, *args, **kwargs)

    with unittest.mock.patch.object(OddColours, moment, overtaken):
        assert len(whole("odd_colours", str(tmp_path)).test) == 4
