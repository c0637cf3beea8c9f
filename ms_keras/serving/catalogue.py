"""What can be found: ids and embeddings, and how a catalogue changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

ON_DUPLICATE = ("error", "keep", "replace")
_SHOWN = 3


class Catalogue(NamedTuple):
    """The items that a search can find.

    Attributes:
        ids: What each is called; no two alike.
        rows: `[n, dim]` float32 of norm 1.
    """

    ids: list[str]
    rows: np.ndarray


def check_ids(ids: Sequence[str]) -> None:
    """Raises ValueError if an id is empty, or stands for two items."""
    if not all(ids):
        raise ValueError(
            f"The item at place {[bool(i) for i in ids].index(False)} has an empty id. "
            "Give each a name."
        )
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = [i for i in ids if i in seen or seen.add(i)]  # type: ignore[func-returns-value]
        raise ValueError(
            f"{len(twice)} ids stand for more than one item, such as "
            f"{_some(twice)}. Name each item once."
        )


def places_to_embed(
    old: Sequence[str], new: Sequence[str], on_duplicate: str
) -> list[int]:
    """Returns the places of those new items that have to be embedded.

    Args:
        old: Ids that are in the catalogue.
        new: Ids to add.
        on_duplicate: What to do with those that are there already: `"error"`, `"keep"`
            the old row, or `"replace"` it.

    Raises:
        ValueError: If one is there and that is an error.
    """
    there = set(old).intersection(new)
    if there and on_duplicate == "error":
        raise ValueError(
            f"{len(there)} of {len(new)} new ids are in the catalogue already, such as "
            f"{_some(sorted(there))}. Choose --on_duplicate=replace or keep."
        )
    kept = there if on_duplicate == "keep" else ()
    return [place for place, name in enumerate(new) if name not in kept]


def joined(old: Catalogue, new: Catalogue) -> Catalogue:
    """Returns the items of both, the old ones first, in their order.

    New items whose id is there already replace the old ones in their place.

    Raises:
        ValueError: If embeddings differ in length.
    """
    if old.rows.shape[1] != new.rows.shape[1]:
        raise ValueError(
            f"The catalogue's embeddings have {old.rows.shape[1]} entries, new ones "
            f"{new.rows.shape[1]}: another tower made them."
        )
    place = {name: i for i, name in enumerate(old.ids)}
    there = [i for i, name in enumerate(new.ids) if name in place]
    added = [i for i, name in enumerate(new.ids) if name not in place]
    rows = np.concatenate([old.rows, new.rows[added]])
    rows[[place[new.ids[i]] for i in there]] = new.rows[there]
    return Catalogue(old.ids + [new.ids[i] for i in added], rows)


def without(catalogue: Catalogue, ids: Sequence[str]) -> Catalogue:
    """Returns a catalogue less some items.

    Raises:
        ValueError: If one of them is not in it.
    """
    gone = set(ids)
    unknown = sorted(gone - set(catalogue.ids))
    if unknown:
        raise ValueError(
            f"{len(unknown)} of {len(gone)} ids to remove are not in the catalogue, "
            f"such as {_some(unknown)}. Mend the list."
        )
    left = [i for i, name in enumerate(catalogue.ids) if name not in gone]
    return Catalogue([catalogue.ids[i] for i in left], catalogue.rows[left])


def _some(ids: Sequence[str]) -> str:
    return ", ".join(repr(i) for i in ids[:_SHOWN])
