"""Answers as a file of rows, npz or Parquet, that appears complete or not at all."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ms_keras.serving.client.batches import Answer
from ms_keras.serving.whole_files import whole_file

SUFFIXES = (".npz", ".parquet")


def new_output(path: str) -> Path:
    """Returns a path at which answers can be written.

    Raises:
        ValueError: If there is something already, or its name ends otherwise.
    """
    target = Path(path)
    if target.suffix not in SUFFIXES:
        raise ValueError(f"--out must end in .npz or .parquet; got {path!r}.")
    if target.exists():
        raise ValueError(f"{target} exists already. Remove it, or name another file.")
    return target


def write(target: Path, answers: Iterable[Answer]) -> int:
    """Writes answers as they come.

    The columns are `names` and the signature's outputs; with embeddings there is
    always `readable` too. Parquet is written batch by batch; npz, whose arrays are
    whole, when all rows have come. The same answers give the same bytes.

    Args:
        target: As `new_output` returns it.
        answers: At least one, all with the same outputs.

    Returns:
        How many rows were written.

    Raises:
        FileExistsError: If a file of that name was made meanwhile.
    """
    write_file = _write_npz if target.suffix == ".npz" else _write_parquet
    with whole_file(target) as beside:
        return write_file(beside, (_columns(answer) for answer in answers))


def _columns(answer: Answer) -> dict[str, np.ndarray]:
    columns = {"names": np.array(answer.names, dtype=object), **answer.outputs}
    if "embeddings" in columns:
        columns.setdefault("readable", np.ones(len(answer.names), bool))
    return columns


def _write_npz(path: Path, batches: Iterable[dict[str, np.ndarray]]) -> int:
    parts = list(batches)
    with zipfile.ZipFile(path, "w") as archive:
        for name in parts[0]:
            column = np.concatenate([part[name] for part in parts])
            if column.dtype == object:
                column = column.astype(np.str_)  # readable without pickle
            # NumPy's own savez puts the time of day in.
            with archive.open(
                zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True
            ) as file:
                np.lib.format.write_array(file, column, allow_pickle=False)
    return sum(len(part["names"]) for part in parts)


def _write_parquet(path: Path, batches: Iterable[dict[str, np.ndarray]]) -> int:
    import pyarrow.parquet as parquet

    writer: Any = None
    count = 0
    try:
        for columns in batches:
            table = _table(columns)
            if writer is None:
                writer = parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
            count += table.num_rows
    finally:
        if writer is not None:
            writer.close()
    return count


def _table(columns: dict[str, np.ndarray]) -> Any:
    import pyarrow as pa

    arrays = {}
    for name, column in columns.items():
        values = pa.array(column.ravel())
        if column.ndim == 2:
            values = pa.FixedSizeListArray.from_arrays(values, column.shape[1])
        arrays[name] = values
    return pa.table(arrays)
