"""Embedding an image set with one or several models in a single pass."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tqdm

from ms_keras.data.pipeline import UnreadableImages, scoring_dataset
from ms_keras.data.protocol import ImageSet

Model = Callable[[tf.Tensor], tf.Tensor]

_PIXELS = 32  # height and width of the raw-pixel descriptor


class Embedded(NamedTuple):
    """What models made of an image set.

    Attributes:
        indices: `[n]` int64, which images were readable.
        rows: `[n, dim]` float32 per model.
    """

    indices: np.ndarray
    rows: dict[str, np.ndarray]


def embed(
    models: Mapping[str, Model],
    images: ImageSet,
    *,
    image_size: int,
    short_side: int,
    unreadable: UnreadableImages | None = None,
    what: str = "images",
) -> Embedded:
    """Runs models over all images of a set, with a progress bar.

    Args:
        models: From a name to a function of `[batch, size, size, 3]` float32 images in
            0-255.
        images: The images.
        image_size: Height and width that the models expect.
        short_side: What short sides are resized to before the centre crop.
        unreadable: What to do with unreadable images. Defaults to raising an error.
        what: The bar's label. Defaults to `"images"`.

    Raises:
        ValueError: If an image cannot be read and is not to be skipped, or none can.
    """
    unreadable = unreadable or UnreadableImages()
    dataset = scoring_dataset(images, image_size, short_side, unreadable=unreadable)

    @tf.function(autograph=False, reduce_retracing=True)
    def run(pictures: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name: model(pictures) for name, model in models.items()}

    indices: list[np.ndarray] = []
    rows: dict[str, list[np.ndarray]] = {name: [] for name in models}
    with tqdm.tqdm(
        total=len(images),
        desc=f"embed {what}",
        unit="image",
        leave=False,
        mininterval=0.5 if sys.stderr.isatty() else 10,
    ) as bar:
        for pictures, batch in _told(dataset, unreadable):
            for name, output in run(pictures).items():
                rows[name].append(output.numpy())
            indices.append(batch.numpy())
            bar.update(len(indices[-1]))
    if not sum(map(len, indices)):
        raise ValueError(f"None of the {len(images)} {what} can be read.")
    return Embedded(
        np.concatenate(indices), {name: np.concatenate(r) for name, r in rows.items()}
    )


def _told(
    dataset: tf.data.Dataset, unreadable: UnreadableImages
) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """Yields batches; an unreadable image is told as such, not as a failed graph."""
    try:
        yield from dataset
    except tf.errors.OpError:
        if unreadable.error:
            raise ValueError(unreadable.error) from None
        raise


def pixel_rows(images: tf.Tensor) -> tf.Tensor:
    """Returns the images themselves as descriptors: the baseline without a network.

    They are resized to 32 x 32 pixels, and each loses its mean.
    """
    small = tf.image.resize(images, [_PIXELS, _PIXELS], antialias=True)
    rows = tf.reshape(small, [-1, _PIXELS * _PIXELS * 3])
    return rows - tf.reduce_mean(rows, axis=1, keepdims=True)
