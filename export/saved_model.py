"""Writes a run's tower as the next version of a served model.

    python -m export.saved_model --run_dir=runs/quickstart --out=models/glyphs

makes `models/glyphs/1/`, at the next call `models/glyphs/2/`, the layout that TF
Serving watches. A version appears complete or not at all.
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from ms_keras import program
from ms_keras.models.runs import CHECKPOINTS, short_side_of_run, tower_of_run
from ms_keras.models.serving import save_serving_model

FLAGS = flags.FLAGS

# The training program has a --run_dir too: whoever imports both gets either.
flags.DEFINE_string("run_dir", "", "Folder of the run.", allow_override=True)
flags.DEFINE_string("out", "", "Folder of the model's versions.")
flags.DEFINE_enum("checkpoint", "best", CHECKPOINTS, "Which state of the run to take.")


def main() -> None:
    """Exports the tower that the flags name and says where it is."""
    for name in ("run_dir", "out"):
        if not FLAGS[name].value:
            raise ValueError(f"--{name} is missing: {FLAGS[name].help}")
    tower = tower_of_run(FLAGS.run_dir, FLAGS.checkpoint)
    version = next_version(Path(FLAGS.out))
    save_serving_model(tower, version, short_side=short_side_of_run(FLAGS.run_dir))
    print(version)


def next_version(base: Path) -> Path:
    """Returns the folder after the highest version in a served model's folder.

    Args:
        base: Folder of the versions; may be missing.

    Raises:
        ValueError: If it is a file.
    """
    if base.exists() and not base.is_dir():
        raise ValueError(f"--out must be a folder; {base} is a file.")
    names = [path.name for path in base.iterdir()] if base.is_dir() else []
    versions = [int(name) for name in names if name.isascii() and name.isdecimal()]
    return base / str(max(versions, default=0) + 1)


if __name__ == "__main__":
    program.run(main)
