"""What a served model is, for whoever finds it on a server: a JSON file inside it."""

from __future__ import annotations

import datetime
import json
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import tensorflow as tf

from ms_keras.serving.signatures import inputs_of

CARD_FILE = "assets/model_card.json"
_SOURCE = Path(__file__).parents[2]
_GIT_SECONDS = 10
_OF_BEST = "best_"  # how names in recall.json begin; the others are of the last state


def write_model_card(
    directory: Path,
    signatures: Mapping[str, tf.types.experimental.ConcreteFunction],
    card: Mapping[str, Any],
) -> None:
    """Writes the card into a SavedModel.

    Args:
        directory: Folder of the SavedModel.
        signatures: What it offers, by name.
        card: What else is to be told, of plain JSON types.
    """
    told = {
        **card,
        "signatures": {name: _shapes(s) for name, s in signatures.items()},
        "made": datetime.datetime.now(datetime.timezone.utc).isoformat("T", "seconds"),
        "stack": stack(),
        "commit": commit(),
    }
    path = directory / CARD_FILE
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def read_model_card(directory: Path) -> dict[str, Any]:
    """Returns the card of a SavedModel.

    Raises:
        ValueError: If it has none, or it is damaged.
    """
    path = directory / CARD_FILE
    if not path.is_file():
        raise ValueError(f"{directory} has no model card ({CARD_FILE}).")
    return _json_of(path, "Export the model again.")


def card_of_run(run_dir: Path, checkpoint: str) -> dict[str, Any]:
    """Returns what a run tells of its tower: data, scores and flags.

    The scores are those of the state that is exported. A run scores its last state in
    full; of its best it keeps Recall@1, the step, and what it was scored on by the way.

    Args:
        run_dir: Folder of the run; unfinished runs have no scores yet.
        checkpoint: Which state of the run is exported, `"best"` or `"last"`.

    Raises:
        ValueError: If the run's `recall.json` is damaged.
    """
    scores = run_dir / "recall.json"
    mend = "Remove it, and start the run again: it goes on where it was."
    report = _json_of(scores, mend) if scores.is_file() else {}
    lines = (run_dir / "flags.cfg").read_text(encoding="utf-8").splitlines()
    flags = [line for line in lines if line and not line.startswith("#")]
    is_best = checkpoint == "best"
    kept = {k: v for k, v in report.items() if k.startswith(_OF_BEST) == is_best}
    return {
        "data": report.get("protocol"),
        "checkpoint": checkpoint,
        "scores": kept or None,
        "flags": flags,
    }


def stack() -> dict[str, str]:
    """Returns the versions that a model was exported with."""
    versions = {"python": platform.python_version(), "tensorflow": tf.__version__}
    for package in ("keras", "ms_keras"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # run from a checkout that is not installed
    return versions


def commit() -> str | None:
    """Returns the commit of this code, if it is a checkout of git's.

    With `-dirty` behind it, as git itself writes it, if its files are changed.
    """
    try:
        # Installed into a folder of somebody else's repository, it is not of that one.
        if Path(_git("rev-parse", "--show-toplevel")).resolve() != _SOURCE.resolve():
            return None
        changed = _git("status", "--porcelain", "--untracked-files=no")
        return _git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(_SOURCE), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=_GIT_SECONDS,
    ).stdout.strip()


def _json_of(path: Path, mend: str) -> dict[str, Any]:
    """Returns the object in a JSON file.

    Raises:
        ValueError: If there is none; names the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no UTF-8, or no JSON
        raise ValueError(f"{path} is damaged: {error}. {mend}") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} is damaged: expected a JSON object, got {type(content).__name__}. "
            f"{mend}"
        )
    return content


def _shapes(function: tf.types.experimental.ConcreteFunction) -> dict[str, Any]:
    return {
        direction: {
            name: {"shape": spec.shape.as_list(), "dtype": spec.dtype.name}
            for name, spec in specs.items()
        }
        for direction, specs in (
            ("inputs", inputs_of(function)),
            ("outputs", function.structured_outputs),
        )
    }
