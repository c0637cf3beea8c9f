"""KServe's model server in an environment of its own; run, it installs it.

python tests/serving/client/kserve_peer.py
"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))

from benchmarks.peers import Peer, python_of  # noqa: E402

# KServe asks for newer messages than TensorFlow 2.15 can read, so that it serves with
# 2.20 what either stack exported.
KSERVE = Peer("kserve", ("kserve>=0.15,<1", "tensorflow-cpu>=2.20,<2.21"))

if __name__ == "__main__":
    print(python_of(KSERVE, ROOT / ".venv-peers"))
