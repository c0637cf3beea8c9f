"""Peers' own virtual environments, so that nothing of theirs meets ours."""

from __future__ import annotations

import fcntl
import pathlib
import platform
import shutil
import subprocess
import sys
from typing import NamedTuple

_STAMP = "complete.txt"  # what is installed; written last
_INSTALL_SECONDS = 1200


class Peer(NamedTuple):
    """A library to compare with.

    Attributes:
        name: Of its environment.
        requirements: What pip installs.
    """

    name: str
    requirements: tuple[str, ...]


class PeerError(RuntimeError):
    """A peer cannot be installed here."""


def python_of(peer: Peer, cache: pathlib.Path) -> pathlib.Path:
    """Returns the interpreter that has a peer, installed at first from the registry.

    A complete environment of the same requirements and interpreter is used again, one
    that was left half-made is made anew.

    Args:
        peer: The library.
        cache: Folder of the environments, one each.

    Raises:
        PeerError: If pip cannot install it; nothing of it is left.
    """
    cache.mkdir(parents=True, exist_ok=True)
    folder = _folder(peer, cache)
    python = folder / "bin" / "python"
    # Two programs that want the same environment must not make it both.
    with open(folder.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_installed(peer, cache):
            _install(peer, folder, python)
            (folder / _STAMP).write_text(_content(peer), encoding="utf-8")
    return python


def is_installed(peer: Peer, cache: pathlib.Path) -> bool:
    """Whether `python_of` has nothing to install; arguments are the same."""
    stamp = _folder(peer, cache) / _STAMP
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == _content(peer)


def _folder(peer: Peer, cache: pathlib.Path) -> pathlib.Path:
    # Two interpreters take turns with one checkout, and neither undoes the other.
    return cache / f"{peer.name}-py{sys.version_info.major}{sys.version_info.minor}"


def _content(peer: Peer) -> str:
    return "\n".join([platform.python_version(), *peer.requirements]) + "\n"


def _install(peer: Peer, folder: pathlib.Path, python: pathlib.Path) -> None:
    steps: tuple[list[str | pathlib.Path], ...] = (
        [sys.executable, "-m", "venv", "--clear", folder],
        [python, "-m", "pip", "install", "--quiet", *peer.requirements],
    )
    try:
        for step in steps:
            subprocess.run(
                step, check=True, capture_output=True, timeout=_INSTALL_SECONDS
            )
    except (subprocess.SubprocessError, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        told = getattr(error, "stderr", None) or str(error).encode()
        reason = told.decode(errors="replace").strip().splitlines()[-1:]
        raise PeerError(
            f"{peer.name} cannot be installed: {' '.join(reason)}"
        ) from error
    except BaseException:  # Ctrl-C
        shutil.rmtree(folder, ignore_errors=True)
        raise
