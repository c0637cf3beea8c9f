"""The README tells the truth: its example runs, its flags and defaults exist."""

import pathlib
import re

import numpy as np
from absl import flags

from ms_keras import train

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_example_runs(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(example, names)
    losses = names["model"].history.history["loss"]
    assert np.isfinite(losses).all()


def test_the_table_lists_every_flag_with_its_default():
    listed = {}
    for row in re.findall(r"^\| (`--.*?) \| (.*?)\|", README, re.MULTILINE):
        names = re.findall(r"--(\w+)", row[0])
        defaults = [d.strip().strip("`") for d in row[1].split("`, `")]
        if "`, ," in row[1] or ", , `" in row[1]:
            defaults = [d.strip(" `") for d in row[1].split(",")]
        if len(defaults) != len(names):
            defaults = [""] * len(names)
        listed.update(zip(names, defaults, strict=True))
    by_module = flags.FLAGS.flags_by_module_dict()
    defined = {
        flag.name: (flag.default_as_str or "").strip("'")
        for room in train.ROOMS
        for flag in by_module[room.__name__]
    }
    listed.pop("run_dir")
    assert listed == defined
