"""What a search accepts: finite rows of numbers, and labels that can be compared."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_BLOCK_ENTRIES = 1 << 22  # of an array copied to float64 at a time: 32 MB
_NUMBERS = "numbers"
_KINDS = {"b": _NUMBERS, "i": _NUMBERS, "u": _NUMBERS, "U": "strings", "S": "bytes"}


def unit_rows(rows: np.ndarray, what: str) -> np.ndarray:
    """Returns rows of norm 1, for cosine similarity.

    Each is scaled by its largest entry in float64 before it is squared, so that nothing
    overflows or vanishes, and rounded to float32 last: equal rows stay equal.

    Args:
        rows: `[n, dim]` numbers of any precision.
        what: The argument's name in error messages.

    Returns:
        `[n, dim]` float32; a row of zeros stays zero.

    Raises:
        ValueError: If the array is empty, has another rank, no numbers, or NaN or
            infinite entries.
    """
    rows = _as_numbers(rows, what)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(
            f"{what} must be a non-empty [n, dim] array; got shape {rows.shape}."
        )
    units = np.empty(rows.shape, np.float32)
    broken: list[int] = []
    for block in blocks(len(rows), rows.shape[1], _BLOCK_ENTRIES):
        exact: np.ndarray = rows[block].astype(np.float64)
        finite = np.isfinite(exact).all(axis=1)
        broken.extend(block.start + np.flatnonzero(~finite))
        if not broken:
            units[block] = _divided(exact)
    if broken:
        raise ValueError(
            f"{what} must be finite; {len(broken)} of {len(rows)} rows have NaN or "
            f"infinite entries, first row {broken[0]}. Did training diverge, or half "
            "precision overflow?"
        )
    return units


def class_ids(
    labels: np.ndarray, gallery_labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels, numbers or names, as ids common to queries and gallery.

    Args:
        labels: `[queries]` integers or strings.
        gallery_labels: `[gallery]` of the same kind, or `None` for no others.

    Returns:
        `[queries]` and `[gallery]` int32 ids, equal where the labels are.

    Raises:
        ValueError: If labels have another rank or kind, or the two kinds differ.
    """
    given, kind = _as_labels(labels, "labels")
    others, other_kind = given[:0], kind
    if gallery_labels is not None:
        others, other_kind = _as_labels(gallery_labels, "gallery_labels")
    if kind != other_kind:
        raise ValueError(
            f"labels and gallery_labels must be of one kind; got {kind} and "
            f"{other_kind}. No class would be found in the gallery."
        )
    _, ids = np.unique(np.concatenate([given, others]), return_inverse=True)
    ids = ids.astype(np.int32)
    return ids[: len(given)], ids[len(given) :]


def check_count(rows: np.ndarray, labels: np.ndarray, what: str) -> None:
    """Raises ValueError unless there is a label for each row."""
    if len(rows) != len(labels):
        raise ValueError(
            f"{what} and their labels must be as many; got {len(rows)} rows and "
            f"{len(labels)} labels."
        )


def blocks(count: int, width: int, entries: int) -> Iterator[slice]:
    """Yields slices that cut `count` rows of a width into blocks of at most `entries`.

    A block has one row at least.
    """
    size = max(1, entries // width)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _divided(rows: np.ndarray) -> np.ndarray:
    largest = np.abs(rows).max(axis=1, keepdims=True)
    rows = rows / np.where(largest > 0, largest, 1)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def _as_numbers(rows: np.ndarray, what: str) -> np.ndarray:
    array = np.asarray(rows)
    # TensorFlow's bfloat16 is no kind of float to NumPy, but converts like one.
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise ValueError(f"{what} must be real numbers; got dtype {array.dtype}.")
    return array


def _as_labels(labels: np.ndarray, what: str) -> tuple[np.ndarray, str]:
    array = np.asarray(labels)
    if array.ndim != 1:
        raise ValueError(f"{what} must have shape [n]; got {array.shape}.")
    if array.dtype == object:  # strings, as TensorFlow and pandas give them
        array = np.array(array.tolist())
    kind = _KINDS.get(array.dtype.kind)
    if kind is None or array.ndim != 1:
        raise ValueError(
            f"{what} must be integer class ids or strings; got dtype {array.dtype}. "
            "Cast whole numbers with .astype(int)."
        )
    # Signed and unsigned 64-bit integers meet in float64, which merges large ids.
    return (array.astype(np.int64) if kind == _NUMBERS else array), kind
