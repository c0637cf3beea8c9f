"""The built-in data set as a TFDS builder, and TFDS names as protocols."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from ms_keras.data.drawings import SIZE, characters, draw
from ms_keras.data.glyphs import DRAWINGS, Glyphs, class_name, split_characters
from ms_keras.data.tfds_source import tfds_protocol


@pytest.fixture(scope="session")
def tfds_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


@pytest.fixture(scope="session")
def protocol(tfds_dir):
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
    index = 1234
    encoded = protocol.test.read(tf.constant(index, tf.int64))
    grey = tf.io.decode_png(encoded)[..., 0].numpy()
    name = protocol.test.class_names[protocol.test.labels[index]]
    drawings = [
        draw(name[-1], np.random.default_rng([ord(name[-1]), n]))
        for n in range(DRAWINGS)
    ]
    assert any((grey == drawing).all() for drawing in drawings)
    assert protocol.test.image_name(index) == "glyphs/test[1234]"


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


@pytest.mark.parametrize(
    ("name", "train", "message"),
    [("glyps", "train", "Close: .*glyphs"), ("glyphs", "trian", "no split 'trian'")],
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

    def _info(self):
        features = tfds.features.FeaturesDict(self.FEATURES)
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"whole": self._generate_examples()}

    def _generate_examples(self):
        for i in range(4):
            picture = np.full((5, 6 + i, 3), 60 * i, np.uint8)
            yield i, {"picture": picture, "kind": i % 2, "width": 6 + i}


class TwoPictures(OddColours):
    """A data set in which it is not clear what the image is."""

    FEATURES = {**OddColours.FEATURES, "other": tfds.features.Image()}

    def _generate_examples(self):
        for i, example in super()._generate_examples():
            yield i, {**example, "other": example["picture"]}


def test_image_and_label_are_found_by_kind(tfds_dir):
    protocol = tfds_protocol("odd_colours", tfds_dir, "whole", "whole", "green", (1,))
    assert protocol.test.labels.tolist() == [1, 1]
    assert protocol.train.labels.tolist() == [0, 0]
    widths = set()
    for index in range(2):
        encoded = protocol.test.read(tf.constant(index, tf.int64))
        widths.add(tf.io.decode_image(encoded).shape[1])
    assert widths <= {6, 7, 8, 9}
    assert len(widths) == 2


def test_an_ambiguous_data_set_is_told(tfds_dir):
    with pytest.raises(ValueError, match="must have one image and one label"):
        tfds_protocol("two_pictures", tfds_dir, "whole", "whole", "", (1,))
