"""Who takes part, at which batch sizes."""

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


def _ours(
    name: str, title: str, most: int = _ANY, least: int = 0, **options: Any
) -> Contender:
    return Contender(
        name,
        title,
        _TF,
        "ours",
        {"loss": MULTI_SIMILARITY, **options},
        most,
        ("tensorflow",),
        least=least,
    )


def _similarity(name: str, title: str, loss: str, jit: bool) -> Contender:
    return Contender(
        name,
        title,
        _TF,
        "tensorflow_similarity",
        {"loss": loss, "jit": jit},
        8192,
        ("tensorflow-similarity", "tensorflow"),
        _SIMILARITY,
    )


def _metric_learning(
    name: str, title: str, loss: str, most: int = 8192, **options: Any
) -> Contender:
    return Contender(
        name,
        title,
        _TORCH,
        "pytorch_metric_learning",
        {"loss": loss, **options},
        most,
        ("pytorch-metric-learning", "torch"),
        _METRIC_LEARNING,
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
    _ours(OURS, "ms_keras"),
    _ours("ours-jit", "ms_keras in a compiled step", most=1024, jit=True),
    _ours("ours-plain", "ms_keras without XLA", most=1024, xla=False),
    _ours(
        "ours-blocks",
        "ms_keras, 512 anchors at once",
        most=8192,
        least=8192,
        block_size=512,
    ),
    _similarity("tfsim", "TensorFlow Similarity", MULTI_SIMILARITY, False),
    _similarity("tfsim-jit", "TensorFlow Similarity, compiled", MULTI_SIMILARITY, True),
    _metric_learning("pml", "pytorch-metric-learning, with miner", MULTI_SIMILARITY),
    _metric_learning(
        "pml-all",
        "pytorch-metric-learning, no miner",
        MULTI_SIMILARITY,
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
    ),
)

# Of the other losses: ours, and who has a like one. pytorch-metric-learning lists all
# triplets: 4 million at 1,024, a quarter of a thousand million at 8,192.
_PML_LOSSES = {
    "contrastive": 8192,
    "triplet": 1024,
    "triplet:hard": 8192,
    "lifted_structure": 8192,
    "nca": 8192,
    "margin": 1024,
    "histogram": 1024,
}
_ADDONS_LOSSES = {
    "triplet_hard": ("triplet:hard", 8192),
    "triplet_semihard": ("triplet:semi_hard", 1024),
    "npairs": ("n_pairs", 8192),
    "lifted": ("lifted_structure", 200),
}
_SIMILARITY_LOSSES = ("triplet:hard", "triplet:semi-hard")
_OUR_LOSSES = (
    "contrastive",
    "triplet",
    "triplet:hard",
    "triplet:semi_hard",
    "lifted_structure",
    "lifted_star",
    "n_pairs",
    "nca",
    "histogram",
    "binomial_deviance",
    "bin_lifted",
    "margin",
)


def of_other_losses() -> dict[str, list[Contender]]:
    """Returns the contenders of every other loss, ours first."""
    found = {
        loss: [_ours(f"{OURS}-{loss}", "ms_keras", loss=loss)] for loss in _OUR_LOSSES
    }
    for loss, most in _PML_LOSSES.items():
        title = "pytorch-metric-learning"
        found[loss].append(_metric_learning(f"pml-{loss}", title, loss, most))
    for theirs, (loss, most) in _ADDONS_LOSSES.items():
        addons = Contender(
            f"addons-{theirs}",
            "TensorFlow Addons",
            _TF,
            "addons",
            {"loss": theirs},
            most,
            ("tensorflow-addons",),
        )
        found[loss].append(addons)
    for loss in _SIMILARITY_LOSSES:
        title, key = "TensorFlow Similarity", loss.replace("-", "_")
        found[key].append(_similarity(f"tfsim-{loss}", title, loss, False))
        compiled = _similarity(f"tfsim-jit-{loss}", f"{title}, compiled", loss, True)
        found[key].append(compiled)
    return found
