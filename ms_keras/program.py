"""How every program of the package starts, and how it ends on bad input."""

from __future__ import annotations

import sys
from collections.abc import Callable

from absl import app, logging

USAGE_ERROR = 2


def run(main: Callable[[], int | None]) -> None:
    """Parses flags, runs `main` and exits with what it returns.

    A ValueError is a user's mistake, told by whoever noticed it: its text goes to
    stderr and the exit status is 2. With `--verbosity=1` the traceback is shown too.
    """

    def guarded(argv: list[str]) -> int | None:
        if len(argv) > 1:
            raise app.UsageError(
                f"Unexpected argument {argv[1]!r}: flags begin with two dashes."
            )
        try:
            return main()
        except ValueError as error:
            logging.debug("Where it came from:", exc_info=True)
            print(f"Error: {error}", file=sys.stderr)
            return USAGE_ERROR

    app.run(guarded)
