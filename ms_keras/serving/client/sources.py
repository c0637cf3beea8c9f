"""Where images come from: files, folders and URLs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import requests

from ms_keras.data.image_files import EXTENSIONS, is_image, visible_files
from ms_keras.serving.client.contract import ServerError
from ms_keras.serving.client.http_answers import RETRIED, may_pass, pieces_of
from ms_keras.serving.client.retries import Retries

MOST_BYTES = 64 * 2**20  # of one image; more is no photograph
_SILENCE = 20.0  # seconds to connect to a web server, and between two of its bytes
LONGEST_DOWNLOAD = 120.0  # seconds for one image, all tries together


class Source(NamedTuple):
    """An image that can be read.

    Attributes:
        name: What it is called in the output.
        location: Its path or its URL.
    """

    name: str
    location: str


def images_of(paths: Sequence[str]) -> list[Source]:
    """Returns the images of folders, at any depth in alphabetical order, and files.

    Hidden files and folders are passed over.

    Args:
        paths: Folders, whose images are named by their path inside, and files, which
            are named as they are given.

    Raises:
        ValueError: If a path is missing, a folder has no images, or a name is no UTF-8.
    """
    sources: list[Source] = []
    for path in paths:
        if os.path.isfile(path):
            sources.append(Source(path, path))
        elif os.path.isdir(path):
            sources += _images_in(Path(path))
        else:
            raise ValueError(f"--images={path} is neither a folder nor a file.")
    _check_names([source.name for source in sources])
    return sources


def urls_of(path: str) -> list[Source]:
    """Returns the URLs in a text file, one in a line; empty lines are passed over.

    Raises:
        ValueError: If the file cannot be read or has no URLs, or a line is none.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--urls={path} cannot be read: {error}.") from error
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.strip().startswith(("http://", "https://")):
            raise ValueError(
                f"{path}, line {number}: expected a URL that begins with http:// or "
                f"https://; got {line.strip()!r}."
            )
    found = [Source(line.strip(), line.strip()) for line in lines if line.strip()]
    if not found:
        raise ValueError(f"--urls={path} holds no URLs; expected one in a line.")
    return found


def read(
    source: Source, retries: Retries, stop: threading.Event | None = None
) -> bytes:
    """Returns the contents of an image file.

    Args:
        source: The image.
        retries: For web servers that are busy.
        stop: Ends downloads when it is set. Defaults to `None`: nothing does.

    Raises:
        ValueError: If it cannot be read, has more than 64 MiB, or a web server takes
            more than two minutes for it.
        CancelledError: If it was to stop.
    """
    stop = stop or threading.Event()
    end = time.monotonic() + LONGEST_DOWNLOAD
    try:
        if source.location.startswith(("http://", "https://")):
            return retries.call(
                lambda: _download(source.location, end, stop), stop.wait
            )
        with open(source.location, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ServerError) as error:
        raise ValueError(f"cannot read {source.location}: {error}.") from error
    _check_size(len(content), source.location)
    return content


def _download(url: str, end: float, stop: threading.Event) -> bytes:
    try:
        with requests.get(url, timeout=_SILENCE, stream=True) as answer:
            if answer.status_code != 200:
                again = answer.status_code in RETRIED
                raise ServerError(
                    f"HTTP {answer.status_code}", str(answer.reason), again
                )
            content = bytearray()
            for piece in pieces_of(answer, end, stop):
                content += piece
                _check_size(len(content), url)
    except requests.RequestException as error:
        in_time = time.monotonic() < end
        raise ServerError(
            "UNAVAILABLE", str(error), may_pass(error) and in_time
        ) from error
    except TimeoutError as error:
        raise ServerError("DEADLINE_EXCEEDED", str(error), False) from error
    return bytes(content)


def _check_names(names: Sequence[str]) -> None:
    """Raises ValueError for a name that cannot be written: answers are UTF-8."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"--images: the file name {name!r} is no UTF-8. Rename the file."
            ) from error


def _check_size(size: int, location: str) -> None:
    if size > MOST_BYTES:
        raise ValueError(
            f"{location} has more than {MOST_BYTES} bytes; expected a photograph. "
            "Leave it out."
        )


def _images_in(folder: Path) -> list[Source]:
    paths = sorted(Path(path) for path in visible_files(folder) if is_image(path))
    if not paths:
        raise ValueError(
            f"--images={folder} holds no images; expected files that end in "
            f"{', '.join(EXTENSIONS)}."
        )
    return [Source(p.relative_to(folder).as_posix(), str(p)) for p in paths]
