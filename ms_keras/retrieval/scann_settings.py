"""How ScaNN searches: which share of a gallery it looks at, and how closely."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from numbers import Integral
from typing import Any

# ScaNN's rules of thumb (google-research/scann, docs/algorithms.md): brute force below
# 20,000 points; hashing and rescoring below 100,000; above, partitions as well, about
# sqrt(points) of them; hashing with 2 dims per block.
_HASH_FROM = 20_000
_PARTITION_FROM = 100_000
_DIMS_PER_BLOCK = 2
# ScaNN says to tune the share of leaves to the recall wanted; its own example searches
# 5 % and rescores 10 candidates per neighbour. That is too few for classes of five that
# overlap: of 60,000 rows of a trial, in 245 leaves, a search of 5 % lost 17 points of
# Recall@1 and 33 of Recall@8, 20 % lost 3 and 10, 40 % 0 and 5, 70 % 0 and 1, at 1.5
# times the time of 40 %. Without leaves, 500 candidates lost nothing, 100 one neighbour
# in 25. The 60,502 rows of benchmarks.recall are others: there 40 % lose 0.57 points of
# Recall@1 and 0.73 of Recall@10.
_SHARE_SEARCHED = 0.7
_CANDIDATES_PER_NEIGHBOUR = 10
_FEWEST_CANDIDATES = 500
# Hashing trains 16 centres per block; on fewer rows than these, hashing and partitions
# save nothing, and ScaNN 1.3.0 was seen to crash instead of refusing.
_FEWEST_ROWS = 256
_ROWS_PER_LEAF = 16


@dataclasses.dataclass(frozen=True)
class ScannSettings:
    """What ScaNN does with a gallery.

    With `leaves` and `reorder` 0 it compares each query with every row: brute force.

    Attributes:
        leaves: Partitions of the gallery, 2 or more; 0 for none.
        leaves_to_search: Partitions that a query is compared with; 0 if there are none.
            More of them miss less and take longer.
        reorder: Nearest by hashed rows whose cosines are then computed exactly; 0 to
            hash nothing. More of them miss less and take longer.
        dimensions_per_block: Dims hashed together. Defaults to 2, ScaNN's advice.
        anisotropic_threshold: How much hashing prefers errors across a row to errors
            along it, between 0 and 1. Defaults to 0.2, as in ScaNN's example.
        training_sample: Rows that partitions and hashes are learnt from, at most.
            Defaults to 250,000, as in ScaNN's example.

    Raises:
        ValueError: If a number is out of range or they do not fit together.
    """

    leaves: int
    leaves_to_search: int
    reorder: int
    dimensions_per_block: int = _DIMS_PER_BLOCK
    anisotropic_threshold: float = 0.2
    training_sample: int = 250_000

    def __post_init__(self) -> None:
        for name in ("leaves", "leaves_to_search", "reorder"):
            _check_whole(name, getattr(self, name), 0)
        for name in ("dimensions_per_block", "training_sample"):
            _check_whole(name, getattr(self, name), 1)
        # ScaNN 1.3.0 was seen to return one row over and over from a single leaf.
        if self.leaves == 1:
            raise ValueError("leaves must be 2 or more, or 0 for none; got 1.")
        if self.leaves and not 1 <= self.leaves_to_search <= self.leaves:
            raise ValueError(
                f"leaves_to_search must be 1 to the {self.leaves} leaves there are; "
                f"got {self.leaves_to_search}."
            )
        if not self.leaves and self.leaves_to_search:
            raise ValueError(
                f"leaves_to_search={self.leaves_to_search} needs leaves; got leaves=0. "
                "Set both, or neither."
            )
        threshold = self.anisotropic_threshold
        if not isinstance(threshold, (int, float)) or not 0 < threshold < 1:
            raise ValueError(
                f"anisotropic_threshold must lie between 0 and 1; got {threshold!r}."
            )

    @property
    def is_brute_force(self) -> bool:
        """Whether each query is compared with every row, unhashed."""
        return not self.leaves and not self.reorder

    def as_json(self) -> dict[str, int | float]:
        """Returns the settings as JSON holds them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ScannSettings:
        """Returns the settings that `as_json` gave.

        Raises:
            ValueError: If a name is unknown or missing, or a number out of range.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(content, Mapping) or sorted(content) != sorted(names):
            raise ValueError(f"ScaNN's settings must name {names}; got {content!r}.")
        return cls(**content)


def choose_settings(
    count: int,
    dim: int,
    k: int,
    *,
    leaves: int | None = None,
    leaves_to_search: int | None = None,
    reorder: int | None = None,
) -> ScannSettings:
    """Returns settings for a gallery, by ScaNN's own rules of thumb, leant to accuracy.

    Below 20,000 rows brute force; below 100,000 all rows are hashed and the best
    rescored; above, the gallery is cut into about `sqrt(count)` leaves, of which 70 %
    are searched. 10 candidates are rescored per neighbour, 500 at least.

    Args:
        count: Rows of the gallery.
        dim: Their dimension.
        k: Neighbours that will be asked for.
        leaves: Instead of the rule's. Defaults to `None`.
        leaves_to_search: Instead of the rule's. Defaults to `None`.
        reorder: Instead of the rule's. Defaults to `None`.

    Raises:
        ValueError: If a number is out of range.
    """
    for name, value in (("count", count), ("dim", dim), ("k", k)):
        _check_whole(name, value, 1)
    if leaves is None:
        leaves = round(math.sqrt(count)) if count >= _PARTITION_FROM else 0
    if leaves_to_search is None:
        leaves_to_search = math.ceil(_SHARE_SEARCHED * leaves)
    if reorder is None:
        reorder = max(_FEWEST_CANDIDATES, _CANDIDATES_PER_NEIGHBOUR * k)
        reorder = reorder if count >= _HASH_FROM else 0
    blocks_of = min(_DIMS_PER_BLOCK, dim)
    return ScannSettings(leaves, leaves_to_search, reorder, blocks_of)


def fit_settings(settings: ScannSettings, count: int) -> ScannSettings:
    """Returns settings that a gallery of `count` rows can be indexed with.

    Fewer than 256 rows are compared one by one, and a leaf has 16 rows on average; the
    share of leaves searched does not fall by it.
    """
    if count < _FEWEST_ROWS:
        return dataclasses.replace(settings, leaves=0, leaves_to_search=0, reorder=0)
    leaves = min(settings.leaves, count // _ROWS_PER_LEAF)
    if leaves == settings.leaves:
        return settings
    searched = math.ceil(settings.leaves_to_search * leaves / settings.leaves)
    return dataclasses.replace(settings, leaves=leaves, leaves_to_search=searched)


def _check_whole(name: str, value: object, least: int) -> None:
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or value < least:  # type: ignore[operator]
        raise ValueError(
            f"{name} must be a whole number, {least} or more; got {value}."
        )
