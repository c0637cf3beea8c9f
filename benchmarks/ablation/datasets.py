"""The data sets of the ablation, each halved by class."""

from __future__ import annotations

import pathlib

from benchmarks.ablation.settings import Source
from ms_keras.data.files import folder
from ms_keras.data.image_folder import image_folder
from ms_keras.data.image_list import image_list
from ms_keras.data.protocol import Protocol

KS = (1, 2, 4, 8)
IMAGE_SIZES = {"cub": 160, "grocery": 128}
_LISTS = ("train.txt", "val.txt", "test.txt")
_TEST_CLASSES = "0.5"  # the last half, in order


def read_protocol(source: Source, scratch: pathlib.Path) -> Protocol:
    """Reads which images train and which test.

    Args:
        source: The data set: `"cub"` is a folder with a sub-folder per class,
            `"grocery"` a folder with three lists of images, all of which are taken.
        scratch: A folder to write the united list to.

    Raises:
        ValueError: If images are missing; as `image_folder` and `image_list`.
    """
    root = folder(source.data_dir, f"--{source.name}_dir")
    if source.name == "cub":
        return image_folder(str(root), _TEST_CLASSES, KS)
    united = scratch / "images.txt"
    united.write_text("\n".join(map(_read, (root / n for n in _LISTS))), "utf-8")
    return image_list(str(root), str(united), "", "", _TEST_CLASSES, KS)


def _read(file: pathlib.Path) -> str:
    if not file.is_file():
        raise ValueError(
            f"--grocery_dir={file.parent} holds no {file.name}; expected the folder "
            f"with {', '.join(_LISTS)}."
        )
    return file.read_text(encoding="utf-8-sig")
