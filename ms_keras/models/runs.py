"""The tower of a training run, rebuilt from its flags and a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

import tensorflow as tf
from absl import flags

from ms_keras.models.flags import (
    define_flags,
    short_side_from_flags,
    tower_from_flags,
)

CHECKPOINTS = ("best", "last")


def tower_of_run(
    run_dir: str | os.PathLike[str], which: str = "best"
) -> tf.keras.Model:
    """Rebuilds the tower of a run, finished or not, with its trained weights.

    Its computations follow the present dtype policy, not the one of the run.

    Args:
        run_dir: Folder of the run, with `flags.cfg` and `checkpoints/`.
        which: The checkpoint to take, `"best"` or `"last"`. Defaults to `"best"`.

    Raises:
        ValueError: If the folder is not a run's, it has no such checkpoint yet, or the
            checkpoint does not fit the flags.
    """
    values = _flags_of_run(run_dir)
    checkpoint = _checkpoint(Path(run_dir), which)
    tower = tower_from_flags(values, weights=None)
    try:
        status = tf.train.Checkpoint(model=tower).restore(checkpoint).expect_partial()
        # Otherwise a variable that the checkpoint lacks would stay random, silently.
        status.assert_existing_objects_matched()
    except (AssertionError, ValueError) as error:
        raise ValueError(
            f"Checkpoint {checkpoint} does not fit the tower that the run's flags.cfg "
            f"describes: {error} Was flags.cfg changed since?"
        ) from error
    return tower


def short_side_of_run(run_dir: str | os.PathLike[str]) -> int:
    """Returns the short side of a run's scored images before the crop, in pixels.

    Args:
        run_dir: Folder of the run.

    Raises:
        ValueError: If the folder is not a run's.
    """
    return short_side_from_flags(_flags_of_run(run_dir))


def _flags_of_run(run_dir: str | os.PathLike[str]) -> flags.FlagValues:
    """Parses the flags of this room out of a run's, apart from the program's own."""
    path = Path(run_dir) / "flags.cfg"
    if not path.is_file():
        raise ValueError(
            f"{run_dir} is not the folder of a run: it has no flags.cfg. Pass what was "
            "given to ms_keras.train as --run_dir."
        )
    values = flags.FlagValues()
    define_flags(values)
    flags.DEFINE_string("flagfile", "", "Where flags are read from.", values)
    try:
        values(["run", f"--flagfile={path}"], known_only=True)
    except flags.Error as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return values


def _checkpoint(run_dir: Path, which: str) -> str:
    if which not in CHECKPOINTS:
        raise ValueError(f"checkpoint must be one of {CHECKPOINTS}; got {which!r}.")
    folder = run_dir / "checkpoints" / which
    checkpoint = tf.train.latest_checkpoint(str(folder))
    if checkpoint is None:
        raise ValueError(
            f"{folder} holds no checkpoint. Train longer, until the run has saved one, "
            "or check --run_dir and --checkpoint."
        )
    return checkpoint
