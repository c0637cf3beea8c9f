"""What a client may ask for, what it gets, and how a server refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

# What each signature gives; all take image_bytes.
SIGNATURES = {
    "embed_bytes": ("embeddings",),
    "embed_bytes_safe": ("embeddings", "readable"),
    "search_bytes": ("ids", "scores"),
}
RETRIED = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")


class ModelSpec(NamedTuple):
    """Which function of which model.

    Attributes:
        model: The name it is served under.
        signature: One of `SIGNATURES`.
        version: A number, or `None` for the latest.
        label: Of a version, such as `"stable"`; `None` with a version.
    """

    model: str
    signature: str
    version: int | None = None
    label: str | None = None


class ServerError(Exception):
    """A server refused a request, or could not be reached.

    Attributes:
        code: Name of the gRPC status, or `"HTTP 400"`.
        message: What the server said, as it said it.
        retried: Whether the same request may succeed later.
    """

    def __init__(self, code: str, message: str, retried: bool) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retried = retried


class Connection(Protocol):
    """A server that is asked for one function of one model."""

    def predict(self, image_bytes: Sequence[bytes]) -> dict[str, np.ndarray]:
        """Asks for one batch, once.

        Args:
            image_bytes: Contents of image files.

        Returns:
            The signature's outputs, each with a row per image: `embeddings`
            `[batch, dim]` float32 or int8, `readable` `[batch]` bool, `ids`
            `[batch, k]` strings, `scores` `[batch, k]` float32.

        Raises:
            ServerError: If the server refuses or cannot be reached.
        """

    def close(self) -> None:
        """Lets go of the server."""


def checked(outputs: dict[str, np.ndarray], spec: ModelSpec, count: int) -> dict:
    """Returns a signature's outputs once they have a row for each image.

    Args:
        outputs: What the server gave.
        spec: What was asked for.
        count: Images that were sent.

    Raises:
        ServerError: If one of them is missing or has other rows.
    """
    names = SIGNATURES[spec.signature]
    for name in names:
        if name not in outputs or outputs[name].shape[:1] != (count,):
            shapes = {key: value.shape for key, value in outputs.items()}
            raise ServerError(
                "BAD_ANSWER",
                f"expected {name} with {count} rows from {spec.signature} of "
                f"{spec.model}; got {shapes}. Is it a model of ms_keras?",
                retried=False,
            )
    return {name: outputs[name] for name in names}
