"""How much memory this process has in use, and had at most. Linux tells."""

from __future__ import annotations

import ctypes
import pathlib

IN_USE, PEAK = "VmRSS", "VmHWM"


def memory(what: str) -> int | None:
    """Returns `IN_USE` or `PEAK` in bytes; `None` where the system does not tell."""
    try:
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name == what:
            return 1024 * int(value.split()[0])
    return None


def release_freed() -> None:
    """Gives back what was freed and kept: else its use again would look like none."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def reset_peak() -> bool:
    """Lowers the peak to what is in use; returns whether that was possible."""
    try:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True
