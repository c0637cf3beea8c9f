"""Tower and catalogue in one SavedModel: from the bytes of images to what is alike."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ms_keras.retrieval.scann_package import import_scann
from ms_keras.retrieval.scann_settings import (
    ScannSettings,
    choose_settings,
    fit_settings,
)
from ms_keras.serving.catalogue import Catalogue, check_ids
from ms_keras.serving.chunks import in_chunks
from ms_keras.serving.exact_lookup import DTYPES, ExactLookup
from ms_keras.serving.loaded_tower import SIGNATURES, LoadedTower
from ms_keras.serving.model_card import read_model_card, write_model_card
from ms_keras.serving.scann_lookup import ScannLookup
from ms_keras.serving.versions import finished, unfinished_folder
from ms_keras.serving.warmup import write_warmup
from ms_keras.unit_rows import unit_rows

SEARCHES = ("exact", "scann")


@dataclasses.dataclass(frozen=True)
class LookupOptions:
    """How a catalogue is searched.

    Attributes:
        k: Items found for an image; all, where there are fewer. Defaults to `10`.
        search: `"exact"`, in ops that every TF Serving has, or `"scann"`, approximate,
            by ops that it has to be given. Defaults to `"exact"`.
        dtype: What exact search keeps rows as, `"float32"` or `"bfloat16"`: half the
            memory, cosines up to 0.004 off. Defaults to `"float32"`.
        settings: What ScaNN does. Defaults to `None`: `choose_settings`.

    Raises:
        ValueError: If a value is out of range, or they do not fit together.
    """

    k: int = 10
    search: str = "exact"
    dtype: str = "float32"
    settings: ScannSettings | None = None

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be 1 or more; got {self.k}.")
        for name, known in (("search", SEARCHES), ("dtype", DTYPES)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {known}; got {getattr(self, name)!r}."
                )
        if self.search == "scann" and self.dtype != "float32":
            raise ValueError(
                f"ScaNN keeps float32 rows; got dtype={self.dtype!r}. Drop it, or "
                "search exactly."
            )


class RetrievalModel(NamedTuple):
    """What was exported: all that another version of it needs.

    Attributes:
        tower: Embeds queries, and embedded the catalogue.
        catalogue: What can be found.
        options: How it is searched.
    """

    tower: LoadedTower
    catalogue: Catalogue
    options: LookupOptions


class _Served(tf.Module):
    def __init__(self, model: RetrievalModel) -> None:
        super().__init__()
        self.tower = model.tower.module
        self.ids = tf.Variable(model.catalogue.ids, trainable=False)
        self.lookup = _lookup(model.catalogue.rows, model.options)
        self._k = min(model.options.k, len(model.catalogue.ids))
        self._dim = model.tower.dim

    def search_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Finds what is most alike to encoded images."""
        embed = self.tower.signatures["embed_bytes"]
        return self._search(embed(image_bytes=image_bytes)["embeddings"])

    def search_embeddings(self, embeddings: tf.Tensor) -> dict[str, tf.Tensor]:
        """Finds what is nearest to embeddings of any norm."""
        finite = tf.reduce_all(tf.math.is_finite(embeddings), axis=1)
        # One more than there are: a batch may be empty.
        ends = tf.concat([finite, [False]], axis=0)
        bad = tf.argmin(tf.cast(ends, tf.int32), output_type=tf.int32)
        message = tf.strings.format(
            "embeddings[{}] of {} has NaN or infinite entries. Mend it or leave it "
            "out.",
            (bad, tf.shape(embeddings)[0]),
        )
        usable = tf.debugging.Assert(tf.reduce_all(finite), [message])
        with tf.control_dependencies([usable]):
            return self._search(tf.identity(embeddings))

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """Returns what the SavedModel offers by name."""
        files = tf.TensorSpec((None,), tf.string, name="image_bytes")
        rows = tf.TensorSpec((None, self._dim), tf.float32, name="embeddings")
        search = _traced(self.search_bytes, files)
        return {
            "serving_default": search,
            "search_bytes": search,
            "search_embeddings": _traced(self.search_embeddings, rows),
            **{name: _traced(self._of_tower(name), files) for name in SIGNATURES},
        }

    def _of_tower(self, name: str) -> Any:
        return lambda image_bytes: self.tower.signatures[name](image_bytes=image_bytes)

    def _search(self, embeddings: tf.Tensor) -> dict[str, tf.Tensor]:
        queries = unit_rows(tf.cast(embeddings, tf.float32))

        def of_some(some: tf.Tensor) -> list[tf.Tensor]:
            indices, scores = self.lookup.nearest(some, self._k)
            ids = tf.gather(self.ids, tf.maximum(indices, 0))
            return [tf.where(indices < 0, "", ids), scores]

        row = tf.TensorSpec((None, self._k), tf.float32)
        names = tf.TensorSpec((None, self._k), tf.string)
        ids, scores = in_chunks(of_some, queries, [names, row])
        return {"ids": ids, "scores": scores}


def save_retrieval_model(
    model: RetrievalModel,
    directory: str | os.PathLike[str],
    *,
    warmup: bool = False,
    numbered: bool = False,
) -> Path:
    """Saves a tower together with a catalogue that it searches.

    The SavedModel needs no Keras and nothing of this package; with ScaNN inside, the
    server needs ScaNN's ops. Its signatures:

    - `serving_default` and `search_bytes` take `image_bytes`, `[batch]` strings, JPEG
      or PNG files, and give `ids`, `[batch, k]` strings, nearest first, and `scores`,
      `[batch, k]` float32 cosines. Where ScaNN finds fewer, ids are empty;
    - `search_embeddings` takes `embeddings`, `[batch, dim]` float32 of any norm;
    - `embed_bytes` and `embed_bytes_safe` are the tower's.

    Args:
        model: Tower, catalogue and options.
        directory: The folder to make. It appears when it is complete.
        warmup: Whether to write requests that TF Serving runs before it announces the
            version. Defaults to `False`.
        numbered: Whether `directory` is the folder of a model's versions, in which the
            next one is made. Its number is chosen when it is complete, so that another
            export may go on meanwhile. Defaults to `False`.

    Returns:
        The folder made.

    Raises:
        FileExistsError: If the folder exists.
        ValueError: If the catalogue is empty, ids are empty or alike, its rows are not
            the tower's, or a package is missing.
    """
    tower, catalogue, options = model
    _check(tower, catalogue)
    target = Path(directory)
    with unfinished_folder(target, numbered=numbered) as unfinished:
        served = _Served(model)
        signatures = served.signatures()
        tf.saved_model.save(served, str(unfinished), signatures=signatures)
        about = {"count": len(catalogue.ids), **_as_json(options)}
        card = {"catalogue": about, "tower": tower.card}
        write_model_card(unfinished, signatures, card)
        if warmup:
            name = unfinished.absolute().parent.name
            limits = {"max_batch": tower.max_batch, "max_pixels": tower.max_pixels}
            write_warmup(unfinished, signatures, model=name, **limits)
        return finished(unfinished, target, numbered=numbered)


def load_retrieval_model(directory: str | os.PathLike[str]) -> RetrievalModel:
    """Loads what `save_retrieval_model` saved, to change it.

    Raises:
        ValueError: If there is none, it is damaged, or a package is missing.
    """
    folder = Path(directory)
    card = read_model_card(folder) if folder.is_dir() else {}
    if "catalogue" not in card:
        raise ValueError(
            f"{folder} holds no catalogue. Name a version that export.index made, such "
            "as models/birds_catalogue/1."
        )
    about = dict(card["catalogue"])
    count = about.pop("count")
    if about["settings"] is not None:
        about["settings"] = ScannSettings.from_json(about["settings"])
    options = LookupOptions(**about)
    if options.search == "scann":
        import_scann("scann_ops")  # TensorFlow must know the ops before it loads them
    try:
        loaded = tf.saved_model.load(str(folder))
    except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{folder} is damaged: {error}. Export it again.") from error
    ids = [name.decode() for name in loaded.ids.numpy().tolist()]
    rows = tf.cast(loaded.lookup.rows, tf.float32).numpy()
    if not len(ids) == len(rows) == count:
        raise ValueError(
            f"{folder} is damaged: {len(ids)} ids and {len(rows)} rows of {count}."
        )
    tower = LoadedTower(loaded.tower, card["tower"])
    return RetrievalModel(tower, Catalogue(ids, rows), options)


def _traced(function: Any, spec: tf.TensorSpec) -> Any:
    return tf.function(function, autograph=False).get_concrete_function(spec)


def _lookup(rows: np.ndarray, options: LookupOptions) -> ExactLookup | ScannLookup:
    if options.search == "exact":
        return ExactLookup(rows, options.dtype)
    count, dim = rows.shape
    settings = options.settings or choose_settings(count, dim, options.k)
    return ScannLookup(rows, fit_settings(settings, count))


def _as_json(options: LookupOptions) -> dict[str, Any]:
    settings = options.settings.as_json() if options.settings else None
    return {**vars(options), "settings": settings}


def _check(tower: LoadedTower, catalogue: Catalogue) -> None:
    if not catalogue.ids:
        raise ValueError("The catalogue is empty; expected one image at least.")
    check_ids(catalogue.ids)
    expected = (len(catalogue.ids), tower.dim)
    if catalogue.rows.shape != expected:
        raise ValueError(
            f"Expected a row of {tower.dim} entries, as the tower gives, for each of "
            f"{len(catalogue.ids)} ids; got shape {catalogue.rows.shape}."
        )
