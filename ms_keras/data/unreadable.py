"""Images that cannot be read or decoded: an error that names them, or skipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import numpy as np
import tensorflow as tf
from absl import logging

from ms_keras.data.protocol import ImageSet
from ms_keras.data.python_calls import called_from_threads

_WHY = "missing, truncated or not an image"


class UnreadableImages:
    """What happens with images that cannot be read or decoded.

    Args:
        skip: Whether to log them and go on. Defaults to `False`: they are an error.

    Attributes:
        skip: As given.
        error: What stopped a data set, if anything did.
    """

    def __init__(self, skip: bool = False) -> None:
        self.skip = skip
        self.error: str | None = None
        self._names: set[str] = set()

    @property
    def names(self) -> list[str]:
        """The images skipped so far, sorted."""
        return sorted(self._names)

    def meet(self, name: str, why: str = _WHY) -> None:
        """Notes an image, or raises.

        Args:
            name: What it is called.
            why: Why it cannot be read. Defaults to what may be of any.

        Raises:
            ValueError: If unreadable images are not to be skipped.
        """
        if not self.skip:
            self.fail(
                f"cannot read {name}: {why}. Mend or remove it, or go on without such "
                "images with --skip_unreadable."
            )
        if name not in self._names:
            self._names.add(name)
            logging.warning("Skipped unreadable image %s (%d)", name, len(self._names))

    def fail(self, error: str) -> NoReturn:
        """Keeps the error, of which a graph's own error tells little, and raises it."""
        self.error = error
        raise ValueError(error)


def reporter(
    images: ImageSet, unreadable: UnreadableImages
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns a graph function that meets the images of a batch that were not read.

    It takes the indices of the batch's images, and the places in it of those read.
    """

    @called_from_threads
    def meet(indices: np.ndarray, places: np.ndarray) -> np.bool_:
        for index in np.delete(indices, places).tolist():
            unreadable.meet(images.image_name(index))
        return np.bool_(True)

    def report(indices: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
        done = tf.numpy_function(meet, [indices, places], tf.bool)
        return tf.ensure_shape(done, [])

    return report


def refuser_of_lost_classes(
    images: ImageSet, unreadable: UnreadableImages
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a graph function of class ids, which raises if there are any."""

    @called_from_threads
    def refuse(lost: np.ndarray) -> np.bool_:
        names = ", ".join(images.class_names[i] for i in np.unique(lost))
        unreadable.fail(
            f"of class {names}, no image in a batch can be read. Mend or remove its "
            "unreadable images, which the log names."
        )

    def refuse_any(lost: tf.Tensor) -> tf.Tensor:
        none = tf.equal(tf.size(lost), 0)
        return tf.cond(
            none,
            lambda: True,
            lambda: tf.ensure_shape(tf.numpy_function(refuse, [lost], tf.bool), []),
        )

    return refuse_any
