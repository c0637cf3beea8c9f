"""An exported tower, loaded again to be part of another SavedModel."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ms_keras.serving.model_card import CARD_FILE, read_model_card

SIGNATURES = ("embed_bytes", "embed_bytes_safe")


class LoadedTower(NamedTuple):
    """A tower that takes the contents of image files.

    Attributes:
        module: The SavedModel, to be kept alive and saved along.
        card: What it tells of itself.
    """

    module: Any
    card: dict[str, Any]

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        outputs = self.module.signatures["embed_bytes"].structured_outputs
        return int(outputs["embeddings"].shape[-1])

    @property
    def max_batch(self) -> int:
        """Most images that it takes at a time."""
        return int(self.card["preprocessing"]["max_batch"])

    @property
    def max_pixels(self) -> int:
        """Most pixels of an image that it takes."""
        return int(self.card["preprocessing"]["max_pixels"])

    def embed(self, contents: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Embeds files as a server would.

        Args:
            contents: At most `max_batch` of them.

        Returns:
            `[batch, dim]` numbers, and `[batch]` bool, which could be read.
        """
        signature = self.module.signatures["embed_bytes_safe"]
        outputs = signature(image_bytes=tf.constant(list(contents), tf.string))
        return outputs["embeddings"].numpy(), outputs["readable"].numpy()


def load_tower(directory: str | os.PathLike[str]) -> LoadedTower:
    """Loads what `export.saved_model` made.

    Raises:
        ValueError: If there is none, or it is damaged or another model.
    """
    folder = Path(directory)
    mend = "Name a version that export.saved_model made, such as models/birds/1."
    if not (folder / "saved_model.pb").is_file():
        raise ValueError(f"{folder} holds no SavedModel. {mend}")
    card = read_model_card(folder) if (folder / CARD_FILE).is_file() else {}
    if "catalogue" in card:
        raise ValueError(
            f"{folder} is a catalogue, which has its tower inside: change it with "
            f"--extend={folder}. For a new catalogue, name the tower's own version, "
            "such as models/birds/1."
        )
    try:
        module = tf.saved_model.load(str(folder))
    except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
        raise ValueError(
            f"{folder} holds a damaged SavedModel: {error}. {mend}"
        ) from error
    missing = [name for name in SIGNATURES if name not in module.signatures]
    if missing or "preprocessing" not in card:
        lacking = ", ".join(missing) or f"preprocessing in {CARD_FILE}"
        raise ValueError(f"{folder} is another kind of model: no {lacking}. {mend}")
    return LoadedTower(module, card)
