"""Image files in memory, for benchmarks that send them about."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def jpeg_files(count: int, side: int) -> list[bytes]:
    """Returns JPEG files of smooth colours that all look different.

    Args:
        count: How many; the same ones every time.
        side: Their height and width, in pixels.
    """
    random = np.random.default_rng(0)
    files = []
    for _ in range(count):
        cells = random.integers(0, 256, (8, 8, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(cells).resize((side, side)).save(file, "JPEG")
        files.append(file.getvalue())
    return files
