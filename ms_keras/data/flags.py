"""Flags of the data: which images, how they are split, batched and augmented."""

from __future__ import annotations

from absl import flags

from ms_keras.data.benchmarks import benchmark_protocol
from ms_keras.data.held_out import held_out_protocol
from ms_keras.data.image_folder import image_folder
from ms_keras.data.image_list import image_list
from ms_keras.data.images import Augmentation
from ms_keras.data.pipeline import UnreadableImages
from ms_keras.data.protocol import Protocol
from ms_keras.data.published import PUBLISHED
from ms_keras.data.sampler import PKSampler
from ms_keras.data.tfds_source import tfds_protocol

FLAGS = flags.FLAGS
_SPLIT_FLAGS = (
    "test_classes",
    "train_list",
    "test_list",
    "gallery_list",
    "train_split",
    "test_split",
)
# Which images there are; the other flags say how batches are made of those that train.
IMAGE_FLAGS = ("dataset", "data_dir", *_SPLIT_FLAGS, "hold_out", "skip_unreadable")

flags.DEFINE_string(
    "dataset",
    "glyphs",
    "glyphs (built in), image_folder (a sub-folder per class), image_list (files of "
    "lines `path label`), any TensorFlow data set with an image and a label, or a "
    "published benchmark with its own split and K: cub200, cars196, sop, inshop.",
)
flags.DEFINE_string(
    "data_dir",
    "",
    "Folder of the images; for TensorFlow data sets, where they are kept (empty: "
    "TFDS's own default); for benchmarks, the folder of the official archive, "
    "unpacked, or else that of TFDS.",
)
flags.DEFINE_string(
    "test_classes",
    "",
    "Which classes test, the others train: a fraction 0.5 (the last half in order), "
    "positions 101-200, names a,b,c, or @file. Empty: 0.5 for image_folder and for "
    "image_list without --test_list; TensorFlow data sets keep their splits.",
)
flags.DEFINE_string("train_list", "", "image_list: file of the training images.")
flags.DEFINE_string(
    "test_list", "", "image_list: file of the test images, the queries."
)
flags.DEFINE_string(
    "gallery_list",
    "",
    "image_list: file of the images to search in. Empty: among the test images.",
)
flags.DEFINE_string("train_split", "train", "TensorFlow data set: split to train on.")
flags.DEFINE_string("test_split", "test", "TensorFlow data set: split to test on.")
flags.DEFINE_float(
    "hold_out",
    0.0,
    "To choose settings by: this share of the training classes, the last in order, "
    "does not train and is tested on; the test classes are left alone.",
)
flags.DEFINE_list(
    "ks",
    ["1", "2", "4", "8"],
    "The K of Recall@K. Unless given, benchmarks have those of the papers.",
)
flags.DEFINE_integer("classes_per_batch", 16, "P: classes in a batch.", lower_bound=2)
flags.DEFINE_integer(
    "images_per_class", 5, "K: images of each class in a batch.", lower_bound=2
)
flags.DEFINE_float(
    "min_area", 0.16, "Least share of an image that a training crop covers."
)
flags.DEFINE_enum(
    "preprocessing",
    "published_code",
    ["published_code", "paper_text"],
    "How training crops images whose short side is --short_side. The paper's code, as "
    "most do, cuts random areas and ratios and resizes them to --image_size; its text "
    "says plain random crops: squares of --image_size.",
)
flags.DEFINE_bool("flip", True, "Whether training mirrors half of the images.")
flags.DEFINE_bool(
    "skip_unreadable",
    False,
    "Log and count images that cannot be read, and go on without them.",
)


def protocol_from_flags() -> Protocol:
    """Returns the protocol that the flags describe.

    Raises:
        ValueError: If the data set is unknown or missing, or flags do not fit it.
    """
    protocol = _whole_protocol_from_flags()
    if FLAGS.hold_out:
        return held_out_protocol(protocol, FLAGS.hold_out)
    return protocol


def _whole_protocol_from_flags() -> Protocol:
    """Returns the protocol with all its classes."""
    if FLAGS.dataset in PUBLISHED:
        return _benchmark_from_flags()
    ks = ks_from_flags()
    if FLAGS.train_list and FLAGS.dataset == FLAGS["dataset"].default:
        raise ValueError(
            f"--train_list is read with --dataset=image_list; got --dataset="
            f"{FLAGS.dataset}."
        )
    if FLAGS.dataset == "image_folder":
        return image_folder(FLAGS.data_dir, FLAGS.test_classes or "0.5", ks)
    if FLAGS.dataset == "image_list":
        return image_list(
            FLAGS.data_dir,
            FLAGS.train_list,
            FLAGS.test_list,
            FLAGS.gallery_list,
            FLAGS.test_classes or "0.5",
            ks,
        )
    return tfds_protocol(
        FLAGS.dataset,
        FLAGS.data_dir,
        FLAGS.train_split,
        FLAGS.test_split,
        FLAGS.test_classes,
        ks,
    )


def _benchmark_from_flags() -> Protocol:
    """Returns the published protocol, which other flags cannot change but for K."""
    published = PUBLISHED[FLAGS.dataset]
    others = [
        f"--{name}={FLAGS[name].value}"
        for name in _SPLIT_FLAGS
        if FLAGS[name].value != FLAGS[name].default
    ]
    if published.test_classes:  # its own split may be spelt out
        others = [o for o in others if o != f"--test_classes={published.test_classes}"]
    if others:
        raise ValueError(
            f"--dataset={FLAGS.dataset} has a published split of its own; got "
            f"{' '.join(others)}. Drop that, or read the images by --dataset="
            "image_folder, image_list or their TensorFlow data set's full name, such "
            "as cars196:2.*.*."
        )
    if FLAGS["ks"].using_default_value:  # as a value, it is noted among a run's flags
        FLAGS["ks"].value = [str(k) for k in published.ks]
    return benchmark_protocol(FLAGS.dataset, FLAGS.data_dir, ks_from_flags())


def ks_from_flags() -> tuple[int, ...]:
    """Returns the K of Recall@K, rising.

    Raises:
        ValueError: If one is not a whole number above 0.
    """
    try:
        ks = sorted({int(k) for k in FLAGS.ks})
    except ValueError:
        ks = []
    if not ks or ks[0] < 1:
        raise ValueError(
            f"--ks must be whole numbers above 0, like 1,2,4; got {','.join(FLAGS.ks)}."
        )
    return tuple(ks)


def sampler_from_flags(protocol: Protocol, seed: int) -> PKSampler:
    """Returns the sampler of training batches that the flags describe.

    Raises:
        ValueError: If the training images have fewer classes than a batch.
    """
    return PKSampler(
        protocol.train.labels, FLAGS.classes_per_batch, FLAGS.images_per_class, seed
    )


def augmentation_from_flags(image_size: int, short_side: int) -> Augmentation:
    """Returns the augmentation that the flags describe.

    Args:
        image_size: Height and width that the tower sees, in pixels.
        short_side: Of the images that crops are cut from, in pixels.

    Raises:
        ValueError: If the least area is not a share.
    """
    plain = FLAGS.preprocessing == "paper_text"
    return Augmentation(image_size, FLAGS.min_area, FLAGS.flip, short_side, plain)


def unreadable_from_flags() -> UnreadableImages:
    """Returns what the flags say about unreadable images."""
    return UnreadableImages(FLAGS.skip_unreadable)
