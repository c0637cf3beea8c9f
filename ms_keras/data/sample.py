"""A smaller test split for quick scores on the way."""

from __future__ import annotations

import dataclasses

import numpy as np

from ms_keras.data.protocol import Protocol


def sampled_protocol(protocol: Protocol, images: int, seed: int = 0) -> Protocol:
    """Returns a protocol that tests on some classes only.

    Whole classes are taken, at random, until the queries are as many as asked for: a
    class keeps all its positives. In fewer classes there is less to confuse, so that
    scores are higher than on the whole split; compare them with each other only.

    Args:
        protocol: The whole one.
        images: Test images to have, the last class cut in full; two classes at least.
        seed: Seed of the choice. Defaults to `0`.

    Returns:
        The protocol with a smaller test set, and gallery if it has one. Itself, if it
        has no more test images than asked for.

    Raises:
        ValueError: If `images` is below 1.
    """
    if images < 1:
        raise ValueError(f"A sample must have an image or more; got {images}.")
    if images >= len(protocol.test):
        return protocol
    classes, counts = np.unique(protocol.test.labels, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(classes))
    enough = 1 + np.searchsorted(np.cumsum(counts[order]), images)
    chosen = classes[order[: max(2, enough)]]
    gallery = protocol.gallery and protocol.gallery.of_classes(chosen)
    test = protocol.test.of_classes(chosen)
    return dataclasses.replace(protocol, test=test, gallery=gallery)
