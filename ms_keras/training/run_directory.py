"""The folder of a run: what it was started with, and whether it is done."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable
from types import ModuleType

from absl import flags

FLAGS = flags.FLAGS


class RunDirectory:
    """Paths of a run, and the flags it belongs to.

    Args:
        path: The folder, made if missing.
        rooms: Modules whose flags make up the run.

    Raises:
        ValueError: If no path is given, or something that is not a folder.
    """

    def __init__(self, path: str, rooms: Iterable[ModuleType]) -> None:
        if not path:
            raise ValueError("--run_dir is missing: say where the run's files go.")
        self.path = pathlib.Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"--run_dir must be a folder; {path} is a file.")
        self._rooms = tuple(rooms)
        self.flags = self.path / "flags.cfg"
        self.baselines = self.path / "baselines.json"
        self.events = self.path / "events"
        self.checkpoints = self.path / "checkpoints"
        self.scores = self.path / "recall.json"
        self.picture = self.path / "retrievals.png"
        self.saved_model = self.path / "saved_model" / "1"

    @property
    def is_finished(self) -> bool:
        """Whether the run has left its scores, which are written last."""
        return self.scores.exists()

    def claim(self) -> None:
        """Writes the run's flags, or checks that they are those of the first start.

        Raises:
            ValueError: If the run was started with other flags.
        """
        lines = self._flag_lines()
        if self.flags.exists():
            before = self.flags.read_text(encoding="utf-8").splitlines()
            before = [line for line in before if not line.startswith("#")]
            _refuse_differences(self.path, set(before), set(lines))
            return
        self.path.mkdir(parents=True, exist_ok=True)
        comment = f"# python -m ms_keras.train --flagfile={self.flags} --run_dir=..."
        text = "\n".join([comment, *lines]) + "\n"
        self.flags.write_text(text, encoding="utf-8")

    def _flag_lines(self) -> list[str]:
        by_module = FLAGS.flags_by_module_dict()
        return [
            flag.serialize()
            for room in self._rooms
            for flag in by_module[room.__name__]
            if flag.value is not None
        ]


def _refuse_differences(path: pathlib.Path, before: set[str], now: set[str]) -> None:
    if before != now:
        raise ValueError(
            f"--run_dir={path} was started with {' '.join(sorted(before - now))}; now "
            f"the flags say {' '.join(sorted(now - before))}. Go on with the flags it "
            "was started with, or start anew in another --run_dir."
        )
