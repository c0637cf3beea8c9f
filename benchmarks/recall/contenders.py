"""Who takes part, and what each of them is asked for."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.peers import Peer

FLOOR, OURS = "floor", "ours"
KS = (1, 10, 100, 1000)  # of Recall@K

_FAISS = Peer("faiss", ("faiss-cpu>=1.9,<2", "numpy>=1.26"))
_SKLEARN = Peer("scikit-learn", ("scikit-learn>=1.5,<2", "numpy>=1.26"))


class Contender(NamedTuple):
    """One row of the table.

    Attributes:
        name: For `--contenders`.
        title: For the table.
        work: Name of its function in `works`.
        options: For that function.
        largest_k: The last K that its answer tells Recall@K for; 0 for none.
        is_exact: Whether its Recall@K must be ours.
        libraries: Distributions whose versions are told.
        needs: A module that our own environment may lack. Defaults to `""`.
        peer: Whose environment it runs in. Defaults to `None`: ours.
    """

    name: str
    title: str
    work: str
    options: dict[str, Any]
    largest_k: int
    is_exact: bool
    libraries: tuple[str, ...]
    needs: str = ""
    peer: Peer | None = None

    @property
    def ks(self) -> tuple[int, ...]:
        """The K that its answer tells Recall@K for."""
        return tuple(k for k in KS if k <= self.largest_k)

    @property
    def is_missing(self) -> bool:
        """Whether our own environment lacks what it needs."""
        return bool(self.needs) and importlib.util.find_spec(self.needs) is None


def _lists(
    name: str, title: str, work: str, libraries: tuple[str, ...], peer: Peer | None
) -> list[Contender]:
    """Returns contenders that list neighbours: a few, and as many as R@1000 needs."""
    # One more than K, since a query is the first of its own neighbours.
    return [
        Contender(
            f"{name}-{k}",
            f"{title}, k={k}",
            work,
            {"k": k},
            k - 1,
            True,
            libraries,
            peer=peer,
        )
        for k in (11, 1001)
    ]


def _scann(name: str, title: str, k: int, share: float | None) -> Contender:
    return Contender(
        f"scann-{name}",
        f"ScaNN, {title}, k={k}",
        "scann",
        {"k": k, "share": share},
        k,
        False,
        ("scann", "tensorflow"),
        needs="scann",
    )


CONTENDERS = (
    Contender(FLOOR, "floor: a bare matmul", "floor", {}, 0, False, ()),
    Contender(OURS, "ms_keras, every K", "ours", {"ks": KS}, KS[-1], True, ()),
    *_lists("faiss", "faiss IndexFlatIP", "faiss", ("faiss-cpu",), _FAISS),
    *_lists("sklearn", "scikit-learn brute", "sklearn", ("scikit-learn",), _SKLEARN),
    *_lists("topk", "tf.math.top_k", "topk", ("tensorflow",), None),
    _scann("10", "settings of ms_keras", 10, None),
    _scann("1000", "settings of ms_keras", 1000, None),
    _scann("leaves40", "40 % of the leaves", 10, 0.4),
    _scann("leaves10", "10 % of the leaves", 10, 0.1),
    _scann("leaves2", "2 % of the leaves", 10, 0.02),
)


def find_contenders(names: Sequence[str]) -> list[Contender]:
    """Returns contenders by name, or by what is before the dash; all for no names.

    Raises:
        ValueError: If there is none of a name.
    """
    wanted = [name.strip() for name in names if name.strip()]
    known = {c.name for c in CONTENDERS} | {c.name.split("-")[0] for c in CONTENDERS}
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise ValueError(
            f"--contenders must be among {', '.join(c.name for c in CONTENDERS)}, or "
            f"the part before a dash; got {', '.join(unknown)}."
        )
    return [
        contender
        for contender in CONTENDERS
        if not wanted or {contender.name, contender.name.split("-")[0]} & set(wanted)
    ]
