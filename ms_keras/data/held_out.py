"""Training classes held out, to choose settings by and leave test classes alone."""

from __future__ import annotations

import dataclasses

import numpy as np

from ms_keras.data.protocol import Protocol


def held_out(classes: np.ndarray, share: float) -> np.ndarray:
    """Returns the last classes in order, those that are held out.

    Args:
        classes: `[n]` distinct class ids.
        share: How many of them, above 0 and below 1; rounded, one at least.
    """
    ordered = np.sort(classes)
    return ordered[len(ordered) - max(1, round(share * len(ordered))) :]


def held_out_protocol(protocol: Protocol, share: float) -> Protocol:
    """Returns a protocol that tests on some of the training classes.

    They do not train, and the test classes do neither: whatever is chosen by the scores
    of this protocol leaves those of the whole one honest. Fewer classes are easier to
    tell apart, so that the scores of the two do not compare.

    Args:
        protocol: The whole one.
        share: Of the training classes, the last in order, to test on; above 0, below 1.

    Returns:
        The protocol without a gallery: held-out images are searched among each other.

    Raises:
        ValueError: If the share is out of range, or leaves fewer than two classes to
            train on or to test on.
    """
    if not 0 < share < 1:
        raise ValueError(
            f"A share to hold out must be above 0 and below 1; got {share}."
        )
    classes = np.unique(protocol.train.labels)
    test = held_out(classes, share)
    train = np.setdiff1d(classes, test)
    if min(len(train), len(test)) < 2:
        raise ValueError(
            f"Holding out {share} of {len(classes)} training classes leaves "
            f"{len(train)} to train on and {len(test)} to test on; two of each are "
            "needed. Choose another share, or more classes."
        )
    return dataclasses.replace(
        protocol,
        name=f"{protocol.name}, held-out training classes",
        train=protocol.train.of_classes(train),
        test=protocol.train.of_classes(test),
        gallery=None,
    )
