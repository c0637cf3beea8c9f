"""The four published benchmarks, from an unpacked archive or from TFDS."""

from __future__ import annotations

import dataclasses

import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
from tensorflow_datasets.core.download.extractor import ExtractError

from ms_keras.data import cars196, cub200, inshop_list, sop
from ms_keras.data.files import folder
from ms_keras.data.official import check_files, lists_protocol
from ms_keras.data.protocol import Protocol
from ms_keras.data.published import PUBLISHED, check_sizes
from ms_keras.data.tfds_source import tfds_protocol

_ARCHIVES = {"cub200": cub200, "cars196": cars196, "sop": sop, "inshop": inshop_list}
_TFDS_NAMES = {
    "cub200": "caltech_birds2011",
    "cars196": "cars196",
    "sop": "stanford_online_products",
    "inshop": "in_shop",
}
# The last two are of hosts that answer with a page about something else.
_NOT_PREPARED = (
    AssertionError,
    OSError,
    tfds.download.DownloadError,
    NonMatchingChecksumError,
    ExtractError,
)


def benchmark_protocol(name: str, data_dir: str, ks: tuple[int, ...]) -> Protocol:
    """Returns a benchmark's published protocol: who trains, who tests, who is searched.

    Args:
        name: `cub200`, `cars196`, `sop` or `inshop`.
        data_dir: The folder in which the official archive is unpacked; if it is not,
            where TFDS keeps data sets, or empty for TFDS's own default.
        ks: The K of Recall@K to report.

    Raises:
        ValueError: If the folder or a part of the archive is missing or broken, TFDS
            cannot prepare the data set, or classes and images are not as many as
            published.
    """
    lists = _ARCHIVES[name].lists(folder(data_dir)) if data_dir else None
    if lists is None:
        logging.info("No archive of %s in --data_dir=%s: asking TFDS.", name, data_dir)
        protocol = _of_tfds(name, data_dir, ks)
        check_sizes(
            name, protocol, f"Delete TFDS's {_TFDS_NAMES[name]}: it is made anew."
        )
        return protocol
    protocol = lists_protocol(name, lists, ks)
    check_sizes(
        name,
        protocol,
        f"Unpack the official archive anew into --data_dir={data_dir}; or read images "
        "of your own by --dataset=image_folder or image_list.",
    )
    check_files(lists)
    return protocol


def _of_tfds(name: str, data_dir: str, ks: tuple[int, ...]) -> Protocol:
    test, gallery = ("query", "gallery") if name == "inshop" else ("test", "")
    try:
        protocol = tfds_protocol(
            _TFDS_NAMES[name],
            data_dir,
            "train",
            test,
            PUBLISHED[name].test_classes,
            ks,
            gallery,
        )
    except _NOT_PREPARED as error:
        raise ValueError(
            f"--dataset={name}: --data_dir={data_dir} holds no unpacked archive, and "
            f"TFDS cannot prepare {_TFDS_NAMES[name]}: {error}\nUnpack the official "
            f"archive in --data_dir; expected there: {_ARCHIVES[name].LAYOUT}."
        ) from error
    return dataclasses.replace(protocol, name=name)
