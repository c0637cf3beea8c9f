"""Embeds a catalogue and writes it, with its tower, as the next version of a model.

    python -m export.index --tower=models/birds/1 --images=catalogue \
        --out=models/birds_catalogue
    python -m export.index --extend=models/birds_catalogue/1 --images=new \
        --remove=sold.txt --out=models/birds_catalogue

A server then answers the bytes of an image with the ids and cosines of the catalogue's
most similar ones. Images come from folders (ids are paths inside them), from a list of
lines `path` or `path,id`, or from a split of a TensorFlow data set. --extend embeds
what is new and leaves the version it starts from as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from export.flags import define_warmup
from ms_keras import program
from ms_keras.data.unreadable import UnreadableImages
from ms_keras.retrieval.scann_package import import_scann
from ms_keras.retrieval.scann_settings import choose_settings
from ms_keras.serving.catalogue import (
    ON_DUPLICATE,
    Catalogue,
    joined,
    places_to_embed,
    without,
)
from ms_keras.serving.catalogue_images import (
    CatalogueImages,
    embedded,
    images_of_dataset,
    images_of_folders,
    images_of_list,
    some_of,
)
from ms_keras.serving.exact_lookup import DTYPES
from ms_keras.serving.loaded_tower import LoadedTower, load_tower
from ms_keras.serving.retrieval_model import (
    SEARCHES,
    LookupOptions,
    RetrievalModel,
    load_retrieval_model,
    save_retrieval_model,
)
from ms_keras.serving.versions import check_base
from ms_keras.serving.warmup import with_warmup

FLAGS = flags.FLAGS

# Other programs have some of these flags too: whoever imports several gets either.
flags.DEFINE_string(
    "tower",
    "",
    "Folder of a version that export.saved_model made, such as models/birds/1.",
    allow_override=True,
)
flags.DEFINE_string(
    "extend", "", "Instead of a tower: a version of a catalogue, to begin with."
)
flags.DEFINE_string("out", "", "Folder of the model's versions.", allow_override=True)
flags.DEFINE_multi_string(
    "images",
    [],
    "Folder of images, or an image; may be given more than once.",
    allow_override=True,
)
flags.DEFINE_string("list", "", "Text file with `path` or `path,id` in each line.")
flags.DEFINE_string("dataset", "", "TensorFlow data set.", allow_override=True)
flags.DEFINE_string("split", "test", "Its split.")
flags.DEFINE_string(
    "data_dir", "", "Where TFDS keeps it; empty: its default.", allow_override=True
)
flags.DEFINE_string("remove", "", "--extend: text file with an id in each line.")
flags.DEFINE_enum(
    "on_duplicate",
    "error",
    ON_DUPLICATE,
    "--extend: what to do with an image whose id is in the catalogue already.",
)
flags.DEFINE_bool(
    "skip_unreadable",
    False,
    "Log images that cannot be read, and go on without them.",
    allow_override=True,
)
flags.DEFINE_integer("k", 10, "Items found for an image.", lower_bound=1)
flags.DEFINE_enum(
    "search",
    "exact",
    SEARCHES,
    "exact runs on every TF Serving; scann is approximate and needs its ops there.",
    allow_override=True,
)
flags.DEFINE_enum(
    "dtype", "float32", DTYPES, "exact: what embeddings are kept as on the server."
)
for name, meaning in (
    ("leaves", "partitions"),
    ("leaves_to_search", "partitions searched"),
    ("reorder", "candidates compared exactly"),
):
    flags.DEFINE_integer(
        name, None, f"scann: {meaning}; unset: by size.", 0, allow_override=True
    )
define_warmup()

_SCANN_FLAGS = ("leaves", "leaves_to_search", "reorder")


def main() -> None:
    """Exports the catalogue that the flags describe, and says where it is."""
    if not FLAGS.out:
        raise ValueError("--out is missing: name the folder of the model's versions.")
    if bool(FLAGS.tower) == bool(FLAGS.extend):
        raise ValueError(
            "Name either --tower, for a new catalogue, or --extend, for one that is "
            "there: it has its tower inside."
        )
    # All that can be wrong is found before images are embedded, which may take hours.
    check_base(Path(FLAGS.out))
    warmup = with_warmup(FLAGS.warmup)
    images = images_from_flags()
    tower, kept, options = model_to_begin_with()
    images = images_to_embed(images, kept.ids)
    known = set(kept.ids).union(images.ids if images else ())
    options = options_from_flags(options, len(known), tower.dim)
    catalogue = kept
    if images is not None:
        new = of_images(images, tower)
        catalogue = joined(kept, new) if kept.ids else new
    model = RetrievalModel(tower, catalogue, options)
    version = save_retrieval_model(model, FLAGS.out, warmup=warmup, numbered=True)
    print(f"{len(catalogue.ids)} items: {version}")


def images_from_flags() -> CatalogueImages | None:
    """Returns the images that the flags name, if any.

    Raises:
        ValueError: If they are named in more than one way, or flags that change a
            catalogue are given without one.
    """
    given = [name for name in ("images", "list", "dataset") if FLAGS[name].value]
    if len(given) > 1:
        raise ValueError(
            f"Name images in one way; got {' and '.join('--' + n for n in given)}."
        )
    if not FLAGS.extend and (FLAGS.remove or FLAGS.on_duplicate != "error"):
        raise ValueError("--remove and --on_duplicate change a catalogue: --extend.")
    if FLAGS.images:
        return images_of_folders(FLAGS.images)
    if FLAGS.list:
        return images_of_list(FLAGS.list)
    if FLAGS.dataset:
        return images_of_dataset(FLAGS.dataset, FLAGS.split, FLAGS.data_dir)
    return None


def of_images(images: CatalogueImages, tower: LoadedTower) -> Catalogue:
    """Embeds images; says how many could not be read, where that is allowed."""
    unreadable = UnreadableImages(FLAGS.skip_unreadable)
    catalogue = embedded(images, tower, unreadable)
    if unreadable.names:
        print(f"Left out {len(unreadable.names)} images that cannot be read.")
    return catalogue


def model_to_begin_with() -> RetrievalModel:
    """Returns the tower with what of the catalogue of --extend stays, and its options.

    Raises:
        ValueError: If they do not load, or ids to remove are unknown.
    """
    if not FLAGS.extend:
        tower = load_tower(FLAGS.tower)
        empty: np.ndarray = np.zeros((0, tower.dim), np.float32)
        return RetrievalModel(tower, Catalogue([], empty), LookupOptions())
    model = load_retrieval_model(FLAGS.extend)
    if not FLAGS.remove:
        return model
    kept = without(model.catalogue, ids_of(FLAGS.remove))
    return model._replace(catalogue=kept)


def images_to_embed(
    images: CatalogueImages | None, there: list[str]
) -> CatalogueImages | None:
    """Returns those images that have to be embedded, `None` if there are none.

    Raises:
        ValueError: If nothing would be in the catalogue, or as `places_to_embed`.
    """
    if images is not None:
        places = places_to_embed(there, images.ids, FLAGS.on_duplicate)
        images = some_of(images, places) if places else None
    if images is None and not there:
        raise ValueError(
            "Name images, with --images, --list or --dataset: the catalogue would be "
            "empty."
        )
    return images


def ids_of(path: str) -> list[str]:
    """Returns the ids in a text file, one in a line.

    Raises:
        ValueError: If it cannot be read, or has none.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--remove={path} cannot be read: {error}.") from error
    ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise ValueError(f"--remove={path} is empty; expected an id in each line.")
    return ids


def options_from_flags(before: LookupOptions, count: int, dim: int) -> LookupOptions:
    """Returns how to search: as the flags say, and as before where they are silent.

    Args:
        before: What was said before.
        count: Items of the catalogue, those among them that cannot be read.
        dim: Length of an embedding.

    Raises:
        ValueError: If flags do not fit together, or the package scann is missing.
    """

    def chosen(name: str) -> Any:
        return FLAGS[name].value if FLAGS[name].present else getattr(before, name)

    k, search, dtype = chosen("k"), chosen("search"), chosen("dtype")
    if search != before.search and not FLAGS["dtype"].present:
        dtype = LookupOptions.dtype
    settings = before.settings if search == "scann" else None
    given = {name: FLAGS[name].value for name in _SCANN_FLAGS}
    if any(value is not None for value in given.values()):
        if search != "scann":
            raise ValueError(
                f"--{', --'.join(_SCANN_FLAGS)} are ScaNN's: --search=scann."
            )
        settings = choose_settings(count, dim, k, **given)
    options = LookupOptions(k, search, dtype, settings)
    if search == "scann":
        import_scann("scann_ops")
    return options


if __name__ == "__main__":
    program.run(main)
