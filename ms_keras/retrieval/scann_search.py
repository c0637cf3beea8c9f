"""Approximate search by ScaNN, for galleries too large to compare with row by row."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
from typing import Any, NamedTuple

import numpy as np

from ms_keras.retrieval.inputs import (
    check_dims,
    check_ks,
    excluded_indices,
    unit_rows,
)
from ms_keras.retrieval.scann_package import build, import_scann
from ms_keras.retrieval.scann_settings import (
    ScannSettings,
    choose_settings,
    fit_settings,
)
from ms_keras.retrieval.searcher import NOBODY, Neighbours, Searcher
from ms_keras.retrieval.searcher_files import check_folder, write_folder

_KIND = "scann"
_MODULE = "scann_ops_pybind"
_ABOUT = "scann.json"
_ASSETS = "scann_assets.pbtxt"
_ASSET_PATH = re.compile(r'(asset_path: ")(?:[^"\n]*/)?([^"/\n]+")')


class _Index(NamedTuple):
    ops: Any  # ScaNN's searcher
    num_rows: int
    dim: int
    settings: ScannSettings  # as far as they fit the gallery


class ScannSearcher(Searcher):
    """Looks where near rows are likely; may miss some.

    The cosines it returns are computed exactly. Not even its brute force counts as
    exact: among rows that are equal up to rounding it keeps any. Two indices of one
    gallery with leaves may differ, and so may what they miss: ScaNN has no seed to set.
    A saved index stays as it is.

    Args:
        settings: What to do with a gallery. Defaults to `None`: `choose_settings` for
            each gallery.
        k: Neighbours to choose the settings for, where they are `None`; more may be
            asked for. Defaults to 100.

    Raises:
        ValueError: If the package `scann` cannot be imported, or k is below 1.

    Example:
    ```python
    searcher = ScannSearcher().index(gallery)
    found = searcher.search(queries, k=10)
    ```
    """

    is_exact = False

    def __init__(self, settings: ScannSettings | None = None, k: int = 100) -> None:
        check_ks([k])
        import_scann(_MODULE)
        self._wanted = settings
        self._k = int(k)
        self._index: _Index | None = None

    @property
    def settings(self) -> ScannSettings:
        """What is done with the gallery: what was asked for, as far as it fits.

        Raises:
            ValueError: If there is no gallery yet.
        """
        return self._indexed().settings

    def index(self, gallery: np.ndarray) -> ScannSearcher:
        """Learns partitions and hashes of a gallery and sorts it in."""
        rows = unit_rows(gallery, "gallery")
        count, dim = rows.shape
        wanted = self._wanted or choose_settings(count, dim, self._k)
        settings = fit_settings(wanted, count)
        self._index = _Index(
            build(import_scann(_MODULE), rows, settings), count, dim, settings
        )
        return self

    def adjusted(
        self, leaves_to_search: int | None = None, reorder: int | None = None
    ) -> ScannSearcher:
        """Returns a searcher of the same index that looks at more of it, or at less.

        Args:
            leaves_to_search: Defaults to `None`: as before.
            reorder: Defaults to `None`: as before.

        Raises:
            ValueError: If there is no gallery yet, a number is out of range, or would
                need another index: hashes where there are none, or none.
        """
        index = self._indexed()
        changed = {"leaves_to_search": leaves_to_search, "reorder": reorder}
        given: dict[str, Any] = {k: v for k, v in changed.items() if v is not None}
        settings = dataclasses.replace(index.settings, **given)
        if bool(settings.reorder) != bool(index.settings.reorder):
            raise ValueError(
                f"reorder={settings.reorder} needs another index than one with "
                f"reorder={index.settings.reorder}; call index on a new searcher."
            )
        searcher = ScannSearcher(settings, self._k)
        searcher._index = index._replace(settings=settings)
        return searcher

    def search(
        self, queries: np.ndarray, k: int, exclude: np.ndarray | None = None
    ) -> Neighbours:
        """Returns up to k near rows of the gallery for each query, on all cores."""
        check_ks([k])
        index = self._indexed()
        rows = unit_rows(queries, "queries")
        check_dims(rows, np.empty((0, index.dim)), "queries")
        own = excluded_indices(exclude, len(rows), index.num_rows)
        # The query itself is among its own neighbours, or was missed; either way k are
        # left of one more.
        asked = min(k + (exclude is not None), index.num_rows)
        indices, similarities = _ask(index, rows, asked)
        nobody = np.isnan(similarities) | (indices == own[:, np.newaxis])
        return _sorted(
            np.where(nobody, NOBODY, indices),
            np.where(nobody, np.float32(-np.inf), similarities),
            k,
        )

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Writes the index, which holds the gallery."""
        index = self._indexed()
        with write_folder(directory, _KIND) as folder:
            index.ops.serialize(str(folder))
            assets = folder / _ASSETS
            # ScaNN notes where it wrote to; without that the folder can be moved.
            text = assets.read_text(encoding="utf-8")
            assets.write_text(_ASSET_PATH.sub(r"\1\2", text), encoding="utf-8")
            about = {
                "count": index.num_rows,
                "dim": index.dim,
                "settings": index.settings.as_json(),
                "bytes": {file.name: file.stat().st_size for file in folder.iterdir()},
            }
            (folder / _ABOUT).write_text(json.dumps(about), encoding="utf-8")

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> ScannSearcher:
        """Returns the searcher that `save` wrote, wherever its folder is now."""
        folder = pathlib.Path(directory).absolute()
        check_folder(folder, _KIND)
        about = _read_about(folder)
        settings = about["settings"]
        searcher = cls(settings)
        ops = _load(folder)
        searcher._index = _Index(ops, about["count"], about["dim"], settings)
        return searcher

    def _indexed(self) -> _Index:
        if self._index is None:
            raise ValueError("There is no gallery to search in yet; call index first.")
        return self._index


def _ask(index: _Index, rows: np.ndarray, asked: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns `[queries, asked]` int64 indices and similarities, NaN for nobody."""
    settings = index.settings
    options = {"final_num_neighbors": asked}
    if settings.leaves:
        options["leaves_to_search"] = settings.leaves_to_search
    if settings.reorder:
        options["pre_reorder_num_neighbors"] = max(settings.reorder, asked)
    indices, similarities = index.ops.search_batched_parallel(rows, **options)
    return indices.astype(np.int64), similarities


def _sorted(indices: np.ndarray, similarities: np.ndarray, k: int) -> Neighbours:
    """Returns k columns, by falling similarity and nobody last."""
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    found = Neighbours(
        np.full((len(indices), k), NOBODY, np.int64),
        np.full((len(indices), k), -np.inf, np.float32),
    )
    width = order.shape[1]
    found.indices[:, :width] = np.take_along_axis(indices, order, axis=1)
    found.similarities[:, :width] = np.take_along_axis(similarities, order, axis=1)
    return found


def _read_about(folder: pathlib.Path) -> dict[str, Any]:
    """Returns what `save` noted, after a look at whether the files are all there.

    ScaNN 1.3.0 crashes on a file that is missing or cut off.
    """
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        about["settings"] = ScannSettings.from_json(about["settings"])
        about["count"], about["dim"] = int(about["count"]), int(about["dim"])
        expected = dict(about["bytes"])
        sizes = {name: (folder / name).stat().st_size for name in expected}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"The searcher in {folder} is damaged: {error}") from error
    for name, size in expected.items():
        if sizes[name] != size:
            raise ValueError(
                f"The searcher in {folder} is damaged: {name} should have {size} "
                f"bytes; it has {sizes[name]}."
            )
    return about


def _load(folder: pathlib.Path) -> Any:
    """Returns ScaNN's searcher; its own `load_searcher` wants paths fixed on saving."""
    module = import_scann(_MODULE)
    place = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    text = (folder / _ASSETS).read_text(encoding="utf-8")
    text = _ASSET_PATH.sub(lambda path: f"{path[1]}{place}/{path[2]}", text)
    try:
        return module.ScannSearcher(module.scann_pybind.ScannNumpy(str(folder), text))
    except RuntimeError as error:
        raise ValueError(f"The searcher in {folder} is damaged: {error}") from error
