"""In-Shop Clothes Retrieval, of DeepFashion, as a TFDS builder."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow_datasets as tfds

from ms_keras.data.inshop_list import (
    LAYOUT,
    SIDES,
    parent_of,
    partition_file,
    read_partition,
)
from ms_keras.data.official import Images, require

ITEMS = 7982


class InShop(tfds.core.GeneratorBasedBuilder):
    """Photographs of clothes in a shop: queries are searched in a gallery.

    Its items to train on are others than those of queries and gallery. Images keep the
    bytes of their JPEG files.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The official partition."}  # noqa: RUF012 (TFDS's idiom)
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    Ask for the In-shop Clothes Retrieval Benchmark at
    https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html and place in
    `manual_dir`: {LAYOUT}; or img.zip as it is.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(
                        names=[f"id_{number:08d}" for number in range(1, ITEMS + 1)]
                    ),
                    "file_name": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion.html",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        folder = dl_manager.manual_dir
        sides = read_partition(require(partition_file(folder), LAYOUT))
        read = _reader(folder)
        return {side: self._generate_examples(sides[side], read) for side in SIDES}

    def _generate_examples(
        self, images: Images, read: Callable[[str], bytes]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for path, item in images:
            image = io.BytesIO(read(path))
            yield path, {"image": image, "label": item, "file_name": path}


def _reader(folder: Any) -> Callable[[str], bytes]:
    """Returns what reads an image, from `img/` if it is unpacked, else `img.zip`."""
    unpacked = parent_of("img", folder)
    if (unpacked / "img").is_dir():

        def read(path: str) -> bytes:
            return require(unpacked / path, LAYOUT).read_bytes()

        return read
    file = require(parent_of("img.zip", folder) / "img.zip", LAYOUT)
    try:
        archive = zipfile.ZipFile(file.open("rb"))
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{file} is no zip file: {error}. Download it anew."
        ) from error

    def read_zipped(path: str) -> bytes:
        try:
            return archive.read(path)
        except KeyError as error:
            raise ValueError(
                f"{file} holds no {path}, which is listed. Download both anew."
            ) from error

    return read_zipped
