"""A flag of what is frozen of batch norm, which is also given as a switch."""

from __future__ import annotations

from absl import flags

from ms_keras.models.backbone_layer import FREEZES, freeze_of

_SWITCH = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


class _Parser(flags.ArgumentParser):
    syntactic_help = f"{', '.join(FREEZES)}; true and false, the first and the last"

    def parse(self, argument: str) -> str:
        return freeze_of(_SWITCH.get(argument.lower(), argument))

    def flag_type(self) -> str:
        return "string"


class FreezeFlag(flags.Flag):
    """One of `FREEZES`; `--name` and `--noname` stand for the first and the last.

    So it is also written, as those are all that files of runs held once.

    Args:
        name: The flag's name.
        help_string: What it is for.
    """

    def __init__(self, name: str, help_string: str) -> None:
        serializer: flags.ArgumentSerializer[str] = flags.ArgumentSerializer()
        super().__init__(
            _Parser(), serializer, name, FREEZES[0], help_string, boolean=True
        )

    def serialize(self) -> str:
        """Returns the flag as it stands in a file of flags."""
        switch = {FREEZES[0]: f"--{self.name}", FREEZES[-1]: f"--no{self.name}"}
        return switch.get(str(self.value), f"--{self.name}={self.value}")
