"""What a benchmark ran on."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Mapping
from typing import Any


def machine() -> dict[str, Any]:
    """Returns processor, cores, memory, system, and the versions of the stack."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(
            os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        ),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "tensorflow": importlib.metadata.version("tensorflow"),
    }


def told(machine: Mapping[str, Any]) -> str:
    """Returns a sentence of what `machine`, or a kit's `run.py`, found."""
    if "trouble" in machine:
        return f"What it was measured on could not be told: {machine['trouble']}"
    if "cpu" not in machine:
        return f"Measured on {machine.get('gpu') or 'a CPU'}."
    parts = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{machine['system']}",
        *(
            f"{title} {machine[name]}"
            for name, title in (("python", "Python"), ("tensorflow", "TensorFlow"))
            if name in machine  # older results tell none
        ),
    ]
    return f"Measured on {'; '.join(parts)}."


def _cpu() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()
