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
        ValueError: If it has none.
    """
    path = directory / CARD_FILE
    if not path.is_file():
        raise ValueError(f"{directory} has no model card ({CARD_FILE}).")
    return json.loads(path.read_text(encoding="utf-8"))


def card_of_run(run_dir: Path, checkpoint: str) -> dict[str, Any]:
    """Returns what a run tells of its tower: data, scores and flags.

    Args:
        run_dir: Folder of the run; unfinished runs have no scores yet.
        checkpoint: Which state of the run is exported.
    """
    scores = run_dir / "recall.json"
    report = json.loads(scores.read_text(encoding="utf-8")) if scores.is_file() else {}
    lines = (run_dir / "flags.cfg").read_text(encoding="utf-8").splitlines()
    flags = [line for line in lines if line and not line.startswith("#")]
    return {
        "data": report.get("protocol"),
        "checkpoint": checkpoint,
        "scores": report or None,
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
    """Returns the commit of this code, if it is a checkout of git's."""
    try:
        found = subprocess.run(
            ["git", "-C", str(_SOURCE), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=True,
            timeout=_GIT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


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
