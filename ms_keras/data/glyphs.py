"""The built-in data set: drawings of several hundred characters, a class each."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from ms_keras.data.drawings import SIZE, characters, draw

DRAWINGS = 20  # of each character
_SPLIT_SEED = 1


class Glyphs(tfds.core.GeneratorBasedBuilder):
    """Drawings of letters and digits, with disjoint characters for train and test.

    Drawn from the fonts shipped inside matplotlib, in seconds and without a download;
    the same drawings every time, as long as the fonts are the same.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First drawings."}  # noqa: RUF012 (TFDS's own idiom)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(SIZE, SIZE, 1), encoding_format="png"
                    ),
                    "label": tfds.features.ClassLabel(
                        names=[class_name(c) for c in characters()]
                    ),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        train, test = split_characters()
        return {
            "train": self._generate_examples(train),
            "test": self._generate_examples(test),
        }

    def _generate_examples(
        self, subset: tuple[str, ...]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for character in subset:
            for number in range(DRAWINGS):
                rng = np.random.default_rng([ord(character), number])
                name = class_name(character)
                image = draw(character, rng)[..., np.newaxis]
                yield f"{name} {number}", {"image": image, "label": name}


def class_name(character: str) -> str:
    """Returns a character's class name, such as `"U+0416 Ж"`."""
    return f"U+{ord(character):04X} {character}"


@functools.cache
def split_characters() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the characters to train on and those to test on, half each."""
    shuffled = np.random.default_rng(_SPLIT_SEED).permutation(characters()).tolist()
    half = len(shuffled) // 2
    return tuple(sorted(shuffled[half:])), tuple(sorted(shuffled[:half]))
