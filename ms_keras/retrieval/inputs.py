"""What a search accepts: finite rows of numbers, and labels that can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Integral

import numpy as np

from ms_keras.retrieval.mapped_arrays import array_on_disk, is_mapped

_BLOCK_ENTRIES = 1 << 19  # of an array copied to float64 at a time: 4 MB
# Norms this close to 1 are 1. Rows that NumPy or TensorFlow had normalised in float32
# were off by up to 1.6e-7; with more, rows of one direction might not tie in Recall@K.
_UNIT = 2 * float(np.finfo(np.float32).eps)
_NUMBERS = "numbers"
_KINDS = {"b": _NUMBERS, "i": _NUMBERS, "u": _NUMBERS, "U": "strings", "S": "bytes"}


def unit_rows(rows: np.ndarray, what: str) -> np.ndarray:
    """Returns rows of norm 1, for cosine similarity.

    Each is scaled by its largest entry in float64 before it is squared, so that nothing
    overflows or vanishes, and rounded to float32 last: equal rows stay equal.

    Rows that are mapped from a file, or views of such, take no memory beside a block of
    them. If they are float32 and of norm 1 already, they are not copied: the result is
    a read-only view. If not, it is mapped from an unnamed file in the temporary folder.

    Args:
        rows: `[n, dim]` numbers of any precision.
        what: The argument's name in error messages.

    Returns:
        `[n, dim]` float32; a row of zeros stays zero.

    Raises:
        ValueError: If the array is empty, has another rank, no numbers, or NaN or
            infinite entries; or if the temporary folder has no room.
    """
    rows = _as_numbers(rows, what)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(
            f"{what} must be a non-empty [n, dim] array; got shape {rows.shape}."
        )
    if not is_mapped(rows):
        units = np.empty(rows.shape, np.float32)
    elif rows.dtype == np.float32 and _are_units(rows, what):
        rows = rows.view()
        rows.flags.writeable = False
        return rows
    else:
        units = array_on_disk(rows.shape, np.float32)
    for block, exact in _finite_blocks(rows, what):
        units[block] = _divided(exact)
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


def check_dims(queries: np.ndarray, gallery: np.ndarray, what: str) -> None:
    """Raises ValueError unless queries, called `what`, and gallery have one dim."""
    if gallery.shape[1] != queries.shape[1]:
        raise ValueError(
            f"{what} and gallery must have the same dim; got {queries.shape[1]} and "
            f"{gallery.shape[1]}."
        )


def check_ks(ks: Sequence[int]) -> None:
    """Raises ValueError unless there is a K and all are whole numbers above 0."""
    if not len(ks) or any(not isinstance(k, Integral) or k < 1 for k in ks):
        raise ValueError(f"ks must be whole numbers, 1 or more; got {list(ks)}.")


def excluded_indices(
    exclude: np.ndarray | None, queries: int, gallery: int
) -> np.ndarray:
    """Returns `[queries]` int32 gallery indices to leave out, -1 for none.

    Raises:
        ValueError: If given and not an index of the gallery for each query.
    """
    if exclude is None:
        return np.full(queries, -1, np.int32)
    indices = np.asarray(exclude)
    if indices.shape != (queries,) or not np.all((indices >= 0) & (indices < gallery)):
        raise ValueError(
            f"exclude must be [{queries}] indices of a gallery of {gallery} rows; "
            f"got {indices}."
        )
    return indices.astype(np.int32)


def blocks(count: int, width: int, entries: int) -> Iterator[slice]:
    """Yields slices that cut `count` rows of a width into blocks of at most `entries`.

    A block has one row at least.
    """
    size = max(1, entries // width)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _finite_blocks(rows: np.ndarray, what: str) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields blocks of rows in float64; raises ValueError after the last one."""
    broken, first = 0, -1
    for block in blocks(len(rows), rows.shape[1], _BLOCK_ENTRIES):
        exact: np.ndarray = rows[block].astype(np.float64)
        infinite = np.flatnonzero(~np.isfinite(exact).all(axis=1))
        if len(infinite) and not broken:
            first = block.start + infinite[0]
        broken += len(infinite)
        if not broken:
            yield block, exact
    if broken:
        raise ValueError(
            f"{what} must be finite; {broken} of {len(rows)} rows have NaN or "
            f"infinite entries, first row {first}. Did training diverge, or half "
            "precision overflow?"
        )


def _are_units(rows: np.ndarray, what: str) -> bool:
    """Whether all rows have norm 1, or 0, as `unit_rows` would leave them."""
    for _, exact in _finite_blocks(rows, what):
        norms = np.linalg.norm(exact, axis=1)
        if np.any((norms != 0) & (np.abs(norms - 1) > _UNIT)):
            return False
    return True


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
