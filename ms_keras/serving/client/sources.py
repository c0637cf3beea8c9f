"""Where images come from: files, folders and URLs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import requests

from ms_keras.data.image_folder import EXTENSIONS
from ms_keras.serving.client.contract import ServerError
from ms_keras.serving.client.retries import Retries

MOST_BYTES = 64 * 2**20  # of one image; more is no photograph
_PIECE = 2**16
_SECONDS = 20.0  # to connect to a web server, and between two pieces
_RETRIED = {429, 503, 504}


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

    Args:
        paths: Folders, whose images are named by their path inside, and files, which
            are named as they are given.

    Raises:
        ValueError: If a path is missing, or a folder has no images.
    """
    sources: list[Source] = []
    for path in paths:
        if os.path.isfile(path):
            sources.append(Source(path, path))
        elif os.path.isdir(path):
            sources += _images_in(Path(path))
        else:
            raise ValueError(f"--images={path} is neither a folder nor a file.")
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


def read(source: Source, retries: Retries) -> bytes:
    """Returns the contents of an image file.

    Args:
        source: The image.
        retries: For web servers that are busy.

    Raises:
        ValueError: If it cannot be read, or has more than 64 MiB.
    """
    try:
        if source.location.startswith(("http://", "https://")):
            return retries.call(lambda: _download(source.location))
        with open(source.location, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ServerError) as error:
        raise ValueError(f"cannot read {source.location}: {error}.") from error
    _check_size(len(content), source.location)
    return content


def _download(url: str) -> bytes:
    try:
        with requests.get(url, timeout=_SECONDS, stream=True) as answer:
            if answer.status_code != 200:
                again = answer.status_code in _RETRIED
                raise ServerError(
                    f"HTTP {answer.status_code}", str(answer.reason), again
                )
            content = bytearray()
            for piece in answer.iter_content(_PIECE):
                content += piece
                _check_size(len(content), url)
    except requests.RequestException as error:
        lost = isinstance(error, (requests.ConnectionError, requests.Timeout))
        raise ServerError("UNAVAILABLE", str(error), lost) from error
    return bytes(content)


def _check_size(size: int, location: str) -> None:
    if size > MOST_BYTES:
        raise ValueError(
            f"{location} has more than {MOST_BYTES} bytes; expected a photograph. "
            "Leave it out."
        )


def _images_in(folder: Path) -> list[Source]:
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.name.lower().endswith(EXTENSIONS)
    )
    if not paths:
        raise ValueError(
            f"--images={folder} holds no images; expected files that end in "
            f"{', '.join(EXTENSIONS)}."
        )
    return [Source(p.relative_to(folder).as_posix(), str(p)) for p in paths]
