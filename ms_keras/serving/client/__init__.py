"""A client of served towers and catalogues, over gRPC or REST."""

from ms_keras.serving.client.contract import (
    SIGNATURES,
    Connection,
    ModelSpec,
    ServerError,
)
from ms_keras.serving.client.grpc_client import GrpcConnection
from ms_keras.serving.client.rest_client import RestConnection
from ms_keras.serving.client.retries import Retries

__all__ = [
    "SIGNATURES",
    "Connection",
    "GrpcConnection",
    "ModelSpec",
    "RestConnection",
    "Retries",
    "ServerError",
    "connect",
]


def connect(server: str, spec: ModelSpec, deadline: float = 30.0) -> Connection:
    """Returns a connection to a server; it is not spoken to yet.

    Args:
        server: `grpc://host:port`, `http://host:port` or `https://host:port`.
        spec: What to ask for.
        deadline: Seconds that one request may take. Defaults to 30.

    Raises:
        ValueError: If the server is not named so, or the package for gRPC is missing.
    """
    scheme, _, address = server.partition("://")
    if not address or scheme not in ("grpc", "http", "https"):
        raise ValueError(
            f"Expected a server such as grpc://localhost:8500 or http://localhost:8501;"
            f" got {server!r}."
        )
    if scheme == "grpc":
        return GrpcConnection(address.rstrip("/"), spec, deadline)
    return RestConnection(server.rstrip("/"), spec, deadline)
