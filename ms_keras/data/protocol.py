"""What to train on and how to score: labelled images with random access."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images, each readable by its index without a pass over the others.

    Attributes:
        labels: `[n]` int64 class ids, indices into `class_names`.
        class_names: A name per class id.
        read: From a scalar int64 tensor, an index, to the scalar string tensor of the
            encoded JPEG or PNG file; usable inside `tf.data` maps.
        image_name: What to call an image in an error or a report: its path, or its
            place in a split.
    """

    labels: np.ndarray
    class_names: tuple[str, ...]
    read: Callable[[tf.Tensor], tf.Tensor]
    image_name: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.labels)

    def of_classes(self, classes: np.ndarray) -> ImageSet:
        """Returns the images of some classes, in their order.

        Args:
            classes: Class ids; they stay what they are.
        """
        return self.at(np.flatnonzero(np.isin(self.labels, classes)))

    def at(self, kept: np.ndarray) -> ImageSet:
        """Returns some of the images.

        Args:
            kept: `[n]` integers, the images to keep, in the order to have them in.
        """

        def read(index: tf.Tensor) -> tf.Tensor:
            return self.read(tf.gather(tf.constant(kept, tf.int64), index))

        return dataclasses.replace(
            self,
            labels=self.labels[kept],
            read=read,
            image_name=lambda index: self.image_name(int(kept[index])),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Protocol:
    """A data set's way of training and scoring.

    Attributes:
        name: What the protocol is called in reports.
        train: The images to train on.
        test: The queries: images of classes that training never sees.
        gallery: Where queries are searched; `None` for the other test images.
        ks: The K of Recall@K to report.
    """

    name: str
    train: ImageSet
    test: ImageSet
    gallery: ImageSet | None
    ks: tuple[int, ...]
