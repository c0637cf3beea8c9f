"""What an ablation was started with; its folder belongs to these settings."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import tensorflow as tf

from benchmarks.ablation.rows import ROWS, find_row
from ms_keras.retrieval.report import write_json


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set.

    Attributes:
        name: `"cub"` or `"grocery"`.
        data_dir: Its folder.
        image_size: Height and width of the crops, in pixels.
    """

    name: str
    data_dir: str
    image_size: int


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that a result depends on.

    Attributes:
        sources: The data sets.
        weights: Weights of the backbone: a file, `"imagenet"` or `"none"`.
        steps: Length of a scored run.
        search_steps: Length of a run that chooses the learning rate.
        scorings: How often a run is scored on its way, the end included.
        learning_rates: The rates to choose from.
        seeds: A scored run each.
        crops: Random crops of each training image that are kept.
        rows: Names of the rows to compare.
        tensorflow: The version that computes.
        classes_per_batch: P.
        images_per_class: K.
        embedding_dim: Length of an embedding.
        weight_decay: Decoupled, of kernels alone.
    """

    sources: tuple[Source, ...]
    weights: str
    steps: int
    search_steps: int
    scorings: int = 5
    learning_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    seeds: tuple[int, ...] = (0, 1, 2)
    crops: int = 8
    rows: tuple[str, ...] = tuple(row.name for row in ROWS)
    tensorflow: str = tf.__version__
    classes_per_batch: int = 16
    images_per_class: int = 5
    embedding_dim: int = 64
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        for name in ("sources", "learning_rates", "seeds", "rows"):
            _check_distinct(name, getattr(self, name))
        for name in ("steps", "search_steps", "scorings", "crops"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be 1 or more; got {getattr(self, name)}."
                )
        if self.scorings > self.steps:
            raise ValueError(
                f"scorings={self.scorings} is more than there are steps, {self.steps}. "
                "Lower --scorings."
            )
        if not all(0 < rate < 1 for rate in self.learning_rates):
            raise ValueError(
                f"learning_rates must lie between 0 and 1; got {self.learning_rates}."
            )
        if not all(seed >= 0 for seed in self.seeds):
            raise ValueError(f"seeds must be 0 or more; got {self.seeds}.")
        for name in self.rows:
            find_row(name)

    def source(self, name: str) -> Source:
        """Returns the data set of a name."""
        return next(source for source in self.sources if source.name == name)


def claim(out_dir: pathlib.Path, settings: Settings) -> None:
    """Records the settings in a folder, or checks that they are the recorded ones.

    Raises:
        ValueError: If the folder belongs to an ablation with other settings, or is a
            file.
    """
    if out_dir.exists() and not out_dir.is_dir():
        raise ValueError(f"--out_dir must be a folder; {out_dir} is a file.")
    if not _file(out_dir).exists():
        write_json(_file(out_dir), dataclasses.asdict(settings))
        return
    before, now = _as_dict(recorded(out_dir)), _as_dict(settings)
    differing = [name for name in now if before[name] != now[name]]
    if differing:
        told = "; ".join(
            f"{name}={before[name]}, now {name}={now[name]}" for name in differing
        )
        raise ValueError(
            f"--out_dir={out_dir} was started with {told}. Go on with the settings it "
            "was started with, or start anew in another --out_dir."
        )


def recorded(out_dir: pathlib.Path) -> Settings:
    """Returns the settings that a folder belongs to.

    Raises:
        ValueError: If there are none, or they are damaged or of another version.
    """
    file = _file(out_dir)
    if not file.is_file():
        raise ValueError(
            f"--out_dir={out_dir} holds no ablation: there is no {file.name}. Name the "
            "folder of one that was started."
        )
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        content["sources"] = tuple(Source(**source) for source in content["sources"])
        for name, value in content.items():
            content[name] = tuple(value) if isinstance(value, list) else value
        return Settings(**content)
    except (TypeError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{file} is damaged, or of another version of this program: {error}. Start "
            "anew in another --out_dir."
        ) from error


def _file(out_dir: pathlib.Path) -> pathlib.Path:
    return out_dir / "settings.json"


def _as_dict(settings: Settings) -> dict[str, Any]:
    """Returns the settings by name, data sets told apart."""
    content = dataclasses.asdict(settings)
    content["sources"] = [
        f"{s.name} at {s.image_size} px in {s.data_dir}" for s in settings.sources
    ]
    return content


def _check_distinct(name: str, values: tuple[Any, ...]) -> None:
    if not values or len(set(values)) < len(values):
        raise ValueError(f"{name} must be distinct, and one at least; got {values}.")
