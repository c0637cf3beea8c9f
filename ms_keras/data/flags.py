"""Flags of the data: which images, how they are split, batched and augmented."""

from __future__ import annotations

from absl import flags

from ms_keras.data.image_folder import image_folder
from ms_keras.data.image_list import image_list
from ms_keras.data.images import Augmentation
from ms_keras.data.pipeline import UnreadableImages
from ms_keras.data.protocol import Protocol
from ms_keras.data.sampler import PKSampler
from ms_keras.data.tfds_source import tfds_protocol

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "dataset",
    "glyphs",
    "glyphs (built in), image_folder (a sub-folder per class), image_list (files of "
    "lines `path label`), or any TensorFlow data set with an image and a label.",
)
flags.DEFINE_string(
    "data_dir",
    "",
    "Folder of the images; for TensorFlow data sets, where they are kept (empty: "
    "TFDS's own default).",
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
flags.DEFINE_list("ks", ["1", "2", "4", "8"], "The K of Recall@K.")
flags.DEFINE_integer("classes_per_batch", 16, "P: classes in a batch.", lower_bound=2)
flags.DEFINE_integer(
    "images_per_class", 5, "K: images of each class in a batch.", lower_bound=2
)
flags.DEFINE_float(
    "min_area", 0.16, "Least share of an image that a training crop covers."
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


def augmentation_from_flags(image_size: int) -> Augmentation:
    """Returns the augmentation that the flags describe.

    Raises:
        ValueError: If the least area is not a share.
    """
    return Augmentation(image_size, FLAGS.min_area, FLAGS.flip)


def unreadable_from_flags() -> UnreadableImages:
    """Returns what the flags say about unreadable images."""
    return UnreadableImages(FLAGS.skip_unreadable)
