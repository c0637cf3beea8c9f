"""How every program of the package starts, helps, and ends on bad input."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable, Iterable
from types import ModuleType

from absl import app, flags, logging

FAILED = 1
USAGE_ERROR = 2
INTERRUPTED = 130  # what a shell calls a program ended by Ctrl-C
_HELP = ("-h", "-help", "--help")


def run(main: Callable[[], int | None], rooms: Iterable[ModuleType] = ()) -> None:
    """Parses flags, runs `main` and exits with what it returns.

    A ValueError is a user's mistake, told by whoever noticed it: its text goes to
    stderr and the exit status is 2. An OSError, such as a full disk, is told like it,
    with exit status 1. With `--verbosity=1` the traceback is shown too. Ctrl-C gives
    130.

    Args:
        main: The program.
        rooms: Modules whose flags `--help` lists, a group each, after the program's
            own.
    """

    def parse(argv: list[str]) -> list[str]:
        if any(argument in _HELP for argument in argv[1:]):
            print(_help(rooms))
            sys.exit(0)
        return app.parse_flags_with_usage(argv)

    def guarded(argv: list[str]) -> int | None:
        if len(argv) > 1:
            raise app.UsageError(
                f"Unexpected argument {argv[1]!r}: flags begin with two dashes."
            )
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # TensorFlow turned it up
        try:
            return main()
        except (ValueError, OSError) as error:
            logging.debug("Where it came from:", exc_info=True)
            print(f"Error: {error}", file=sys.stderr)
            return FAILED if isinstance(error, OSError) else USAGE_ERROR
        except (KeyboardInterrupt, RuntimeError) as error:
            if not is_interrupt(error):
                raise
            print("\nInterrupted.", file=sys.stderr)
            return INTERRUPTED

    app.run(guarded, flags_parser=parse)


def is_interrupt(error: BaseException) -> bool:
    """Tells a Ctrl-C, also where TensorFlow, tracing, made a RuntimeError of it."""
    return "KeyboardInterrupt" in repr(error)


def adopt_flags(path: pathlib.Path) -> None:
    """Sets the flags a run was started with, as far as this program has them.

    Flags on the command line win over them.

    Raises:
        ValueError: If one of them has a value that its flag refuses.
    """
    values = flags.FLAGS
    chosen = {name: values[name].value for name in values if values[name].present}
    try:
        lines = values.read_flags_from_files([f"--flagfile={path}"])
        values(["", *lines], known_only=True)
    except flags.Error as error:
        raise ValueError(f"{path} holds flags that do not parse: {error}.") from error
    for name, value in chosen.items():
        setattr(values, name, value)


def _help(rooms: Iterable[ModuleType]) -> str:
    """Returns the program's docstring and its flags by room."""
    program = sys.modules["__main__"]
    own = flags.FLAGS.main_module_help()
    groups = [flags.FLAGS.module_help(room) for room in rooms]
    return "\n".join([(program.__doc__ or "").strip(), own, *groups])
