"""Image files of every kind, made by Pillow."""

import io

import numpy as np
import pytest
from PIL import Image


def picture(seed=0, size=(90, 60)):
    """Returns a smooth random RGB picture, of the given width and height."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


def encoded(image, kind="JPEG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **{"quality": 95} if kind == "JPEG" else {}, **options)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Four classes of six pictures each, in a sub-folder per class."""
    root = tmp_path / "images"
    for label, name in enumerate(["ant", "bee", "cat", "dog"]):
        (root / name).mkdir(parents=True)
        for number in range(6):
            data = encoded(picture(10 * label + number, (40 + number, 30)))
            (root / name / f"{number}.jpg").write_bytes(data)
    return root
