"""Who takes part in Multi-Similarity, at which batch sizes."""

from __future__ import annotations

from typing import Any, NamedTuple

from benchmarks.peers import Peer

OURS, FLOOR = "ours", "floor"
_TF, _TORCH = "with_tensorflow", "with_torch"
_SIMILARITY = Peer(
    "tensorflow-similarity",
    ("tensorflow-similarity==0.17.1", "tensorflow==2.15.1", "numpy<2"),
)
_METRIC_LEARNING = Peer(
    "pytorch-metric-learning",
    ("pytorch-metric-learning>=2.9,<3", "torch==2.13.0", "numpy>=1.26"),
)
_ANY = 1 << 40
MULTI_SIMILARITY = "multi_similarity"
# What of a contender's result has to be ours.
BOTH, LOSS_ONLY, ANOTHER = "loss and gradient", "loss", "another loss"


class Contender(NamedTuple):
    """One row of a table.

    Attributes:
        name: For `--contenders`, and in the result.
        title: For the table.
        module: Where its work is.
        work: Name of the function there.
        options: For that function.
        most: Largest batch that it is asked for.
        libraries: Distributions whose versions are told.
        peer: Whose environment it runs in. Defaults to `None`: ours.
        least: Smallest batch that it is asked for. Defaults to 0.
        same: What it has to have in common with ours: `BOTH`, `LOSS_ONLY`, or nothing,
            as `ANOTHER` loss. Defaults to `""`: it is no loss.
        needs: A module that our environment may lack. Defaults to `""`.
    """

    name: str
    title: str
    module: str
    work: str
    options: dict[str, Any]
    most: int
    libraries: tuple[str, ...]
    peer: Peer | None = None
    least: int = 0
    same: str = ""
    needs: str = ""


def ours(
    name: str, title: str, most: int = _ANY, least: int = 0, **options: Any
) -> Contender:
    """Returns this package; of Multi-Similarity unless the options name another."""
    return Contender(
        name,
        title,
        _TF,
        "ours",
        {"loss": MULTI_SIMILARITY, **options},
        most,
        ("tensorflow",),
        least=least,
        same=BOTH,
    )


def similarity(
    name: str, loss: str, jit: bool, normalise: bool, same: str
) -> Contender:
    """Returns TensorFlow Similarity, which asks for unit rows and takes any."""
    rows = "rows normalised" if normalise else "rows as given"
    return Contender(
        name,
        f"TensorFlow Similarity, {rows}{', compiled' if jit else ''}",
        _TF,
        "tensorflow_similarity",
        {"loss": loss, "jit": jit, "normalise": normalise},
        8192,
        ("tensorflow-similarity", "tensorflow"),
        _SIMILARITY,
        same=same,
    )


def metric_learning(
    name: str, title: str, loss: str, same: str, most: int = 8192, **options: Any
) -> Contender:
    """Returns pytorch-metric-learning."""
    return Contender(
        name,
        title,
        _TORCH,
        "pytorch_metric_learning",
        {"loss": loss, **options},
        most,
        ("pytorch-metric-learning", "torch"),
        _METRIC_LEARNING,
        same=same,
    )


_FLOOR = Contender(
    FLOOR, "floor: the products", _TF, "floor", {}, _ANY, ("tensorflow",)
)
OF_MULTI_SIMILARITY = (
    _FLOOR,
    Contender(
        "dispatch",
        "floor: an empty call",
        _TF,
        "dispatch",
        {"jit": False},
        1024,
        ("tensorflow",),
    ),
    Contender(
        "dispatch-xla",
        "floor: an empty call of XLA's",
        _TF,
        "dispatch",
        {"jit": True},
        1024,
        ("tensorflow",),
    ),
    ours(OURS, "ms_keras"),
    ours("ours-jit", "ms_keras in a compiled step", most=1024, jit=True),
    # What it does by itself, up to 128 rows without XLA, the other way round.
    ours("ours-xla", "ms_keras, XLA here too", most=128, xla=True),
    ours("ours-plain", "ms_keras without XLA", most=1024, least=129, xla=False),
    ours(
        "ours-blocks",
        "ms_keras, 512 anchors at once",
        most=8192,
        least=8192,
        block_size=512,
    ),
    # Rows are of norm 1 already, so that its loss is ours without a division too.
    similarity("tfsim", MULTI_SIMILARITY, False, False, LOSS_ONLY),
    similarity("tfsim-jit", MULTI_SIMILARITY, True, False, LOSS_ONLY),
    similarity("tfsim-unit", MULTI_SIMILARITY, False, True, BOTH),
    similarity("tfsim-jit-unit", MULTI_SIMILARITY, True, True, BOTH),
    metric_learning(
        "pml", "pytorch-metric-learning, with miner", MULTI_SIMILARITY, BOTH
    ),
    metric_learning(
        "pml-all",
        "pytorch-metric-learning, no miner",
        MULTI_SIMILARITY,
        ANOTHER,
        miner=False,
    ),
    Contender(
        "loop",
        "a loop over anchors (PyTorch)",
        _TORCH,
        "loop",
        {"loss": MULTI_SIMILARITY},
        1024,
        ("torch",),
        _METRIC_LEARNING,
        same=BOTH,
    ),
)
