"""From flags to a protocol, and what is said of flags that make no sense."""

import shutil

import pytest
from absl.testing import flagsaver

from ms_keras.data import flags
from ms_keras.data.images import Augmentation


@pytest.fixture(autouse=True)
def parsed():
    with flagsaver.flagsaver():
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        yield


def test_a_folder_is_split_in_halves_unless_said_otherwise(folder):
    with flagsaver.flagsaver(dataset="image_folder", data_dir=str(folder)):
        protocol = flags.protocol_from_flags()
        assert protocol.test.class_names == ("cat", "dog")
        assert protocol.ks == (1, 2, 4, 8)
    with flagsaver.flagsaver(
        dataset="image_folder", data_dir=str(folder), test_classes="ant", ks=["3", "1"]
    ):
        protocol = flags.protocol_from_flags()
        assert protocol.test.class_names == ("ant",)
        assert protocol.ks == (1, 3)


def test_settings_are_chosen_on_training_classes(folder):
    for name in ("eel", "fox"):
        shutil.copytree(folder / "ant", folder / name)
    with flagsaver.flagsaver(
        dataset="image_folder",
        data_dir=str(folder),
        test_classes="eel,fox",
        hold_out=0.5,
    ):
        protocol = flags.protocol_from_flags()
    trained, tested = (
        [images.class_names[label] for label in sorted(set(images.labels))]
        for images in (protocol.train, protocol.test)
    )
    assert (trained, tested) == (["ant", "bee"], ["cat", "dog"])


def test_lists_are_read(folder):
    (folder / "all.txt").write_text("ant/0.jpg a\nant/1.jpg a\nbee/0.jpg b\n")
    with flagsaver.flagsaver(
        dataset="image_list", data_dir=str(folder), train_list="all.txt"
    ):
        protocol = flags.protocol_from_flags()
    assert (len(protocol.train), len(protocol.test)) == (2, 1)


def test_sampler_augmentation_and_unreadable_images_follow_the_flags(folder):
    with flagsaver.flagsaver(
        dataset="image_folder",
        data_dir=str(folder),
        classes_per_batch=2,
        images_per_class=3,
        min_area=0.3,
        flip=False,
        skip_unreadable=True,
    ):
        sampler = flags.sampler_from_flags(flags.protocol_from_flags(), seed=0)
        augmentation = flags.augmentation_from_flags(image_size=20, short_side=24)
        assert flags.unreadable_from_flags().skip
    assert sampler.batch(0).shape == (6,)
    assert augmentation == Augmentation(20, 0.3, flip=False, short_side=24)


def test_crops_as_the_paper_s_text_says_are_plain():
    with flagsaver.flagsaver(preprocessing="paper_text", flip=False):
        plain = flags.augmentation_from_flags(image_size=20, short_side=24)
    assert plain == Augmentation(20, flip=False, short_side=24, plain=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dataset": "image_folder"}, "--data_dir is missing"),
        ({"dataset": "image_folder", "data_dir": "/no"}, "no such folder"),
        ({"dataset": "image_list", "data_dir": "."}, "--train_list is missing"),
        ({"train_list": "train.txt"}, "read with --dataset=image_list"),
        ({"dataset": "no_such_data_set"}, "expected image_folder, image_list, glyphs"),
        ({"ks": ["1", "x"]}, "--ks must be whole numbers"),
        ({"ks": ["0"]}, "--ks must be whole numbers"),
        ({"ks": []}, "--ks must be whole numbers"),
    ],
)
def test_senseless_flags_are_refused(given, message):
    with flagsaver.flagsaver(**given), pytest.raises(ValueError, match=message):
        flags.protocol_from_flags()


def test_more_classes_in_a_batch_than_there_are_is_refused(folder):
    with flagsaver.flagsaver(
        dataset="image_folder", data_dir=str(folder), classes_per_batch=3
    ):
        protocol = flags.protocol_from_flags()
        with pytest.raises(ValueError, match="Lower --classes_per_batch"):
            flags.sampler_from_flags(protocol, seed=0)


@pytest.mark.parametrize("min_area", [0.0, -0.1, 1.5])
def test_a_least_area_that_is_no_share_is_refused(min_area):
    message = "min_area must be above 0"
    with (
        flagsaver.flagsaver(min_area=min_area),
        pytest.raises(ValueError, match=message),
    ):
        flags.augmentation_from_flags(image_size=20, short_side=24)
