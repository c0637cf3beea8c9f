"""JAX in an environment of its own, to try a kit out without a GPU.

    python -m benchmarks.gpu.jax_peer

installs it under `.venv-peers` and prints its interpreter.
"""

from __future__ import annotations

import pathlib

from benchmarks.peers import Peer, python_of

JAX = Peer("jax", ("jax>=0.8,<0.12",))
PEERS = pathlib.Path(__file__).parents[2] / ".venv-peers"


if __name__ == "__main__":
    print(python_of(JAX, PEERS))
