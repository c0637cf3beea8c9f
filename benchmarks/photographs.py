"""Images and a network for benchmarks of training that are given none."""

from __future__ import annotations

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator

import numpy as np
from absl import flags
from PIL import Image
from tqdm import tqdm

from ms_keras import train
from ms_keras.data.protocol import Protocol

FLAGS = flags.FLAGS

# Of configs/cub200_mobilenet.cfg, but for weights, which change no time, and its finer
# maps: a shorter step shows more of what is beside the network.
_NETWORK = {
    "backbone": "mobilenet_v2_0.35",
    "weights": "none",
    "image_size": 160,
    "short_side": 192,
    "freeze_until": "block_2_add",
}
_CLASSES, _IMAGES_PER_CLASS = 40, 20
_HEIGHT, _WIDTH = 240, 320  # pixels
_CELLS = 12  # of colour, along each side
_GRAIN = 12.0  # standard deviation, in grey levels


def network_defaults() -> None:
    """Makes the small machines' recipe the network of flags that say nothing else."""
    for name, value in _NETWORK.items():
        FLAGS.set_default(name, value)


@contextlib.contextmanager
def protocol_from_flags() -> Iterator[Protocol]:
    """Yields the flags' images, or generated JPEG files if they name none.

    The files are in a folder that is removed after use, so that reading and decoding
    cost what they cost with photographs.
    """
    if FLAGS.data_dir or FLAGS["dataset"].present:
        yield train.data_flags.protocol_from_flags()
        return
    with tempfile.TemporaryDirectory(prefix="photographs_") as folder:
        _write(pathlib.Path(folder))
        for name, value in (("dataset", "image_folder"), ("data_dir", folder)):
            FLAGS[name].value = value
        yield train.data_flags.protocol_from_flags()


def _write(folder: pathlib.Path) -> None:
    """Writes a folder per class of smooth colours with grain."""
    random = np.random.default_rng(0)
    for number in tqdm(range(_CLASSES), desc="generating", unit="class"):
        of_class = folder / f"class_{number:02d}"
        of_class.mkdir()
        for image in range(_IMAGES_PER_CLASS):
            cells = random.integers(0, 256, (_CELLS, _CELLS, 3), np.uint8)
            smooth = Image.fromarray(cells).resize((_WIDTH, _HEIGHT))
            grain = random.normal(0, _GRAIN, (_HEIGHT, _WIDTH, 3))
            pixels = np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(of_class / f"{image:02d}.jpg")
