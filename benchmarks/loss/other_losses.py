"""Who takes part in the other losses: ours, and who has a like one."""

from __future__ import annotations

from benchmarks.loss.contenders import (
    ANOTHER,
    BOTH,
    OURS,
    Contender,
    metric_learning,
    ours,
    similarity,
)

_USUAL = (1024, 8192)
# The largest batch, and what has to be as ours. Most list triplets: 4 million at 1,024,
# a quarter of a thousand million at 8,192.
_PML_LOSSES = {
    "contrastive": (8192, BOTH),
    "triplet": (1024, BOTH),
    "triplet:hard": (8192, BOTH),
    "triplet:semi_hard": (1024, ANOTHER),  # all triplets within the margin
    "lifted_structure": (8192, BOTH),
    "nca": (8192, BOTH),
    "margin": (1024, ANOTHER),
    "histogram": (1024, ANOTHER),
}
# The loss of ours, the largest batch, and what has to be as ours. Two of them hold
# several tensors of batch^3 numbers: 0.5 GB each at 512 rows, 4 GB at 1,024. Compiled
# they hold fewer, but at 1,024 XLA was still at work after minutes.
_ADDONS_LOSSES = {
    "contrastive": ("contrastive", 8192, ANOTHER),
    "triplet_hard": ("triplet:hard", 8192, BOTH),
    "triplet_semihard": ("triplet:semi_hard", 512, BOTH),
    "npairs": ("n_pairs", 8192, ANOTHER),
    "lifted": ("lifted_structure", 512, ANOTHER),
}
_SIMILARITY_LOSSES = {"triplet:hard": BOTH, "triplet:semi-hard": ANOTHER}
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
        loss: [ours(f"{OURS}-{loss}", "ms_keras", loss=loss)] for loss in _OUR_LOSSES
    }
    for loss, (most, same) in _PML_LOSSES.items():
        title = "pytorch-metric-learning"
        found[loss].append(metric_learning(f"pml-{loss}", title, loss, same, most))
    for theirs, (loss, most, same) in _ADDONS_LOSSES.items():
        found[loss] += [_addons(theirs, most, same, jit) for jit in (False, True)]
    for loss, same in _SIMILARITY_LOSSES.items():
        found[loss.replace("-", "_")] += [
            similarity(f"tfsim-{loss}", loss, False, True, same),
            similarity(f"tfsim-jit-{loss}", loss, True, True, same),
        ]
    return found


def sizes_of(contenders: list[Contender]) -> tuple[int, ...]:
    """Returns batch sizes: the usual ones, and first what the smallest can do."""
    smallest = min(contender.most for contender in contenders)
    return _USUAL if smallest >= _USUAL[0] else (smallest, *_USUAL)


def _addons(loss: str, most: int, same: str, jit: bool) -> Contender:
    return Contender(
        f"addons-{'jit-' if jit else ''}{loss}",
        f"TensorFlow Addons{', compiled' if jit else ''}",
        "with_addons",
        "addons",
        {"loss": loss, "jit": jit},
        most,
        ("tensorflow-addons", "tensorflow"),
        same=same,
        needs="tensorflow_addons",
    )
