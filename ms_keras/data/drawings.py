"""Drawings of characters: varied faces, strokes, inks and distortions."""

from __future__ import annotations

import functools
import math
import pathlib
import unicodedata
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIZE = 48  # pixels, height and width of a drawing
_CANVAS = 128  # pixels, where a glyph is set before it is distorted
_POINTS = 80
# Letters and digits of scripts that the DejaVu faces draw: Latin, IPA, Greek, Cyrillic,
# Armenian, Georgian.
_RANGES = (
    (0x30, 0x7A), (0xC0, 0x24F), (0x250, 0x2AF), (0x370, 0x3FF), (0x400, 0x52F),
    (0x531, 0x587), (0x10A0, 0x10FF), (0x1D00, 0x1D7F), (0x2C60, 0x2C7F),
)  # fmt: skip
_SAME = 0.93  # cosine similarity from which on two blurred shapes pass for one


@functools.cache
def faces() -> tuple[str, ...]:
    """Returns the font files shipped inside matplotlib that draw all characters."""
    folder = pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    names = sorted(path.name for path in folder.glob("DejaVu*.ttf"))
    return tuple(str(folder / name) for name in names if "Display" not in name)


@functools.cache
def characters() -> tuple[str, ...]:
    """Returns characters that look different from each other, in code-point order.

    Accented letters are left out, and so are letters whose shape, whatever its size, is
    that of an earlier one: Greek and Cyrillic A, or small o beside O.
    """
    covered = set.intersection(*(set(FT2Font(face).get_charmap()) for face in faces()))
    candidates = [
        chr(code)
        for first, last in _RANGES
        for code in range(first, last + 1)
        if code in covered
        and unicodedata.category(chr(code)) in ("Lu", "Ll", "Lo", "Nd")
        and not unicodedata.decomposition(chr(code))
    ]
    return tuple(_unlike_each_other(candidates))


def draw(character: str, rng: np.random.Generator) -> np.ndarray:
    """Returns a random drawing of a character: `[SIZE, SIZE]` uint8 grey levels."""
    face = faces()[rng.integers(len(faces()))]
    glyph = _glyph(character, face, stroke=int(rng.integers(0, 4)))
    glyph = glyph.transform(
        (SIZE, SIZE), Image.Transform.AFFINE, _affine(rng), Image.Resampling.BICUBIC
    )
    _scratch(glyph, rng)
    glyph = glyph.filter(ImageFilter.GaussianBlur(rng.uniform(0.0, 1.2)))
    coverage = np.asarray(glyph, np.float64) / 255
    ink, paper = rng.uniform(0, 110), rng.uniform(145, 255)
    if rng.random() < 0.3:  # light on dark
        ink, paper = paper, ink
    grey = paper + (ink - paper) * coverage
    grey += rng.normal(scale=rng.uniform(2, 20), size=grey.shape)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def _glyph(character: str, face: str, stroke: int = 0) -> Image.Image:
    """Returns a character in the middle of a black canvas, in white."""
    image = Image.new("L", (_CANVAS, _CANVAS))
    ImageDraw.Draw(image).text(
        (_CANVAS / 2, _CANVAS / 2),
        character,
        fill=255,
        font=_font(face),
        anchor="mm",
        stroke_width=stroke,
    )
    return image


@functools.cache
def _font(face: str) -> ImageFont.FreeTypeFont:
    # The basic layout is the same everywhere; the other one depends on a library.
    return ImageFont.truetype(face, _POINTS, layout_engine=ImageFont.Layout.BASIC)


def _affine(rng: np.random.Generator) -> tuple[float, ...]:
    """Returns random coefficients from drawing to canvas, as Pillow wants them."""
    angle = math.radians(rng.uniform(-20, 20))
    shear = rng.uniform(-0.25, 0.25)
    scale = _CANVAS / SIZE / rng.uniform(0.85, 1.25)
    aspect = math.exp(rng.uniform(-0.2, 0.2))
    rotate = np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    matrix = scale * rotate @ np.array([[aspect, shear], [0.0, 1 / aspect]])
    centre = SIZE / 2 + rng.uniform(-4, 4, 2)
    offset = _CANVAS / 2 - matrix @ centre
    return (*matrix[0], offset[0], *matrix[1], offset[1])


def _scratch(image: Image.Image, rng: np.random.Generator) -> None:
    """Draws up to two stray lines, and wipes one off."""
    pen = ImageDraw.Draw(image)
    for fill in (255, 255, 0)[: int(rng.integers(0, 4))]:
        ends = rng.uniform(0, SIZE, 4).tolist()
        pen.line(ends, fill=fill, width=int(rng.integers(1, 3)))


def _unlike_each_other(candidates: Sequence[str]) -> list[str]:
    kept: list[str] = []
    shapes = np.zeros((0, 24 * 24))
    for character in candidates:
        shape = _shape(character)
        if shape is not None and not (shapes @ shape > _SAME).any():
            kept.append(character)
            shapes = np.vstack([shapes, shape])
    return kept


def _shape(character: str) -> np.ndarray | None:
    """Returns a character's blurred outline of unit norm, None if it has none."""
    glyph = _glyph(character, faces()[0])
    box = glyph.getbbox()
    if box is None:
        return None
    small = glyph.crop(box).resize((24, 24)).filter(ImageFilter.GaussianBlur(1))
    shape = np.asarray(small, np.float64).ravel()
    shape = shape - shape.mean()
    norm = np.linalg.norm(shape)
    return shape / norm if norm else None
