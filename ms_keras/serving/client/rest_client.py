"""Asks by REST, in the V1 predict protocol of TF Serving and KServe."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import requests

from ms_keras.serving.client.contract import (
    SIGNATURES,
    ModelSpec,
    ServerError,
    checked,
)
from ms_keras.serving.client.http_answers import RETRIED, may_pass, pieces_of


class RestConnection:
    """A server of the V1 predict protocol.

    Args:
        server: `http://host:port`, or behind a proxy also with a path.
        spec: What to ask for.
        deadline: Seconds for one request, as far as HTTP allows: connecting, sending
            and the wait for the head of the answer take no longer each without a byte
            going through, and the answer is given up when it is not complete by then.
    """

    def __init__(self, server: str, spec: ModelSpec, deadline: float) -> None:
        self._url = f"{server}/v1/models/{quote(spec.model, safe='')}{_which(spec)}"
        self._spec = spec
        self._deadline = deadline
        self._closed = threading.Event()

    def predict(self, image_bytes: Sequence[bytes]) -> dict[str, np.ndarray]:
        """Asks for one batch, once; see `Connection`."""
        instances = [
            {"image_bytes": {"b64": base64.b64encode(image).decode()}}
            for image in image_bytes
        ]
        body = {"signature_name": self._spec.signature, "instances": instances}
        predictions = self._post(body).get("predictions")
        return checked(_outputs(predictions, self._spec), self._spec, len(image_bytes))

    def close(self) -> None:
        """Gives up requests under way: each has its own connection."""
        self._closed.set()

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        end = time.monotonic() + self._deadline
        try:
            with requests.post(
                self._url, json=body, timeout=self._deadline, stream=True
            ) as answer:
                text = b"".join(pieces_of(answer, end, self._closed))
        except (requests.Timeout, TimeoutError) as error:
            raise ServerError("DEADLINE_EXCEEDED", str(error), True) from error
        except requests.RequestException as error:
            raise ServerError("UNAVAILABLE", str(error), may_pass(error)) from error
        content = _json(text)
        if answer.status_code != 200:
            said = text.decode(errors="replace").strip() or str(answer.reason)
            if isinstance(content, dict) and "error" in content:
                said = str(content["error"])
            code = f"HTTP {answer.status_code}"
            raise ServerError(code, said, answer.status_code in RETRIED)
        if not isinstance(content, dict):
            raise ServerError("BAD_ANSWER", f"not JSON: {text[:200]!r}", False)
        return content


def _which(spec: ModelSpec) -> str:
    if spec.version is not None:
        return f"/versions/{spec.version}:predict"
    return f"/labels/{quote(spec.label, safe='')}:predict" if spec.label else ":predict"


def _outputs(predictions: Any, spec: ModelSpec) -> dict[str, np.ndarray]:
    """Returns rows as arrays: values by name, or bare if the signature has one."""
    names = SIGNATURES[spec.signature]
    if not isinstance(predictions, list):
        return {}
    rows = [row if isinstance(row, dict) else {names[0]: row} for row in predictions]
    return {
        name: _array(name, [row[name] for row in rows])
        for name in names
        if all(name in row for row in rows)
    }


def _array(name: str, values: list[Any]) -> np.ndarray:
    try:
        if name == "ids":
            return np.array(values, dtype=object)
        array = np.array(values)
    except ValueError as error:
        raise ServerError("BAD_ANSWER", f"{name} has ragged rows", False) from error
    if name == "embeddings" and array.dtype.kind == "i":
        # JSON has no types, but floats are written with a point, so these are int8.
        return array.astype(np.int8)
    return array.astype(bool if name == "readable" else np.float32)


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
