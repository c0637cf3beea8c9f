"""The losses to analyse: those named, and the one that the flags describe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from absl import flags

from ms_keras.losses import LOSSES, PairLoss
from ms_keras.losses import flags as loss_flags

FLAGS = flags.FLAGS


def named_losses(names: Iterable[str]) -> dict[str, PairLoss]:
    """Returns losses with their default settings.

    Raises:
        ValueError: If there is no such loss.
    """
    for name in names:
        if name not in LOSSES:
            raise ValueError(f"--losses must be of {', '.join(LOSSES)}; got {name!r}.")
    kinds: dict[str, Any] = LOSSES  # each of them has defaults
    return {name: kinds[name]() for name in names}


def own_loss(named: dict[str, PairLoss]) -> dict[str, PairLoss]:
    """Returns the loss that the flags, or those of the run, describe, by its name.

    One of TensorFlow Addons, which tells no pair weights, is left out.

    Raises:
        ValueError: If it is left out and no other is named.
    """
    if not FLAGS.loss.startswith(loss_flags.ADDONS):
        loss: Any = loss_flags.loss_from_flags()
        return {FLAGS.loss: loss}
    if not named:
        raise ValueError(
            f"--loss={FLAGS.loss} tells no pair weights. Name others with --losses: "
            f"{', '.join(LOSSES)}."
        )
    return {}
