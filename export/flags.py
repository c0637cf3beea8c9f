"""Flags that several exports have, each defined in the program that calls for it."""

from __future__ import annotations

from absl import flags

FLAGS = flags.FLAGS

# A flag belongs to the program whose --help lists it. Whoever imports several programs
# gets either, which is why one may replace the other.
flags.disclaim_key_flags()


def define_conversion(suffix: str) -> None:
    """Defines --tower and --out, of programs that turn a tower into one file.

    Args:
        suffix: What the file's name ends in.
    """
    flags.DEFINE_string(
        "tower",
        "",
        "Folder of a SavedModel that export.saved_model made, such as models/birds/1; "
        "or of a finished run, RUN_DIR/saved_model/1.",
        allow_override=True,
    )
    flags.DEFINE_string(
        "out", "", f"The file to make, ending in {suffix}.", allow_override=True
    )


def define_warmup() -> None:
    """Defines --warmup, of programs that make a version for TF Serving."""
    flags.DEFINE_enum(
        "warmup",
        "auto",
        ("auto", "yes", "no"),
        "Whether to write requests that TF Serving runs before it announces the "
        "version; needs tensorflow-serving-api. auto goes without it where that is "
        "missing.",
        allow_override=True,
    )


def check_given(*names: str) -> None:
    """Raises a ValueError that explains the first of the flags that has no value."""
    for name in names:
        if not FLAGS[name].value:
            raise ValueError(f"--{name} is missing: {FLAGS[name].help}")
