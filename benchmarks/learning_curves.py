"""Test R@1 against training steps, drawn from finished runs.

    python -m benchmarks.learning_curves --out=curves.png \
        --run="Multi-Similarity=runs/ms_0" --run="Multi-Similarity=runs/ms_1" \
        --run="triplet=runs/triplet_0"

Runs of the same name are seeds: their mean is drawn, with a band from the lowest to the
highest. The pooled features before training are the dashed line. The numbers are
written beside the picture, as JSON.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

from ms_keras import program  # before TensorFlow, whose notices it quietens

import numpy as np  # isort: skip
import tensorflow as tf
from absl import flags
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ms_keras.retrieval.report import write_json

FLAGS = flags.FLAGS

flags.DEFINE_multi_string("run", [], "NAME=DIR, a line's name and a run's folder.")
flags.DEFINE_string(
    "out", "", "Picture to write, .png; numbers go to .json.", allow_override=True
)

_TAG = "round/val_recall_at_1"  # how a run's events name it
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#000000")  # Okabe and Ito's


def curve_of(run: pathlib.Path) -> dict[int, float]:
    """Returns a run's R@1 at each step that was scored, the start included.

    Raises:
        ValueError: If the folder holds no such run.
    """
    curve = {}
    for path in sorted((run / "events").glob("*tfevents*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                if value.tag == _TAG:
                    curve[event.step] = float(tf.make_ndarray(value.tensor))
    if not curve:
        raise ValueError(f"{run}/events tells no {_TAG}; expected a run's folder.")
    report = json.loads((run / "baselines.json").read_text())
    return {0: report["frozen_recall"]["1"], **curve}


def pooled_features(run: pathlib.Path) -> float:
    """Returns the R@1 of the pooled features before training."""
    return json.loads((run / "baselines.json").read_text())["frozen_features_recall"][
        "1"
    ]


def runs_from_flags() -> dict[str, list[pathlib.Path]]:
    """Returns the runs' folders by name.

    Raises:
        ValueError: If there are none, or one has no name.
    """
    runs: dict[str, list[pathlib.Path]] = {}
    for pair in FLAGS.run:
        name, _, folder = pair.partition("=")
        if not name or not folder:
            raise ValueError(f"Expected --run=NAME=DIR; got --run={pair}.")
        runs.setdefault(name, []).append(pathlib.Path(folder))
    if not runs:
        raise ValueError("Name the runs: --run=NAME=DIR, once for each.")
    return runs


def collect(runs: dict[str, list[pathlib.Path]]) -> dict[str, dict[str, Any]]:
    """Returns steps, and R@1 of each seed at each, by name.

    Raises:
        ValueError: If runs of a name were scored at other steps.
    """
    lines = {}
    for name, folders in runs.items():
        curves = [curve_of(folder) for folder in folders]
        steps = sorted(curves[0])
        if any(sorted(curve) != steps for curve in curves):
            raise ValueError(f"The runs of {name} were scored at different steps.")
        lines[name] = {
            "steps": steps,
            "recall": [[c[s] for s in steps] for c in curves],
        }
    return lines


def draw(axes: Axes, lines: dict[str, dict[str, Any]], pooled: float) -> None:
    """Draws a line for each name."""
    for colour, (name, line) in zip(_COLOURS, lines.items(), strict=False):
        recall = 100 * np.array(line["recall"])
        mean = recall.mean(axis=0)
        told = f"{name}, {mean[-1]:.1f}"
        axes.plot(line["steps"], mean, color=colour, marker="o", ms=3, label=told)
        axes.fill_between(
            line["steps"], recall.min(0), recall.max(0), color=colour, alpha=0.15, lw=0
        )
    axes.axhline(
        100 * pooled,
        color="#767676",
        ls="--",
        lw=1,
        label=f"pooled, {100 * pooled:.1f}",
    )
    axes.set(xlabel="training steps", ylabel="R@1 on the test classes, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")


def table(result: dict[str, Any]) -> str:
    """Returns the result as a Markdown table, a row per loss and seed."""
    lines = result["lines"]
    steps = next(iter(lines.values()))["steps"]
    rows = [
        f"| {name} | {seed} | {' | '.join(f'{100 * r:.1f}' for r in recall)} |"
        for name, line in lines.items()
        for seed, recall in enumerate(line["recall"])
    ]
    head = " | ".join(f"{step:,} steps" for step in steps)
    return "\n".join(
        [f"| loss | run | {head} |", "| --- | ---: |" + " ---: |" * len(steps), *rows]
    )


def main() -> int:
    """Draws the runs that the flags name."""
    if not FLAGS.out.endswith(".png"):
        raise ValueError(f"--out must end in .png; got {FLAGS.out!r}.")
    runs = runs_from_flags()
    if len(runs) > len(_COLOURS):
        raise ValueError(f"At most {len(_COLOURS)} names fit; got {len(runs)}.")
    lines = collect(runs)
    pooled = pooled_features(next(iter(runs.values()))[0])
    figure = Figure((5.6, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.subplots(), lines, pooled)
    target = pathlib.Path(FLAGS.out)
    figure.savefig(target, dpi=160)
    result = {"pooled_features": pooled, "lines": lines}
    write_json(target.with_suffix(".json"), result)
    print(table(result))
    print(target)
    return 0


if __name__ == "__main__":
    program.run(main)
