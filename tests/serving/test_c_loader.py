"""SavedModels through TensorFlow's C loader, which TF Serving uses too."""

import c_program
import numpy as np
import pytest
import tensorflow as tf
from c_program import finished, outputs_of, signatures_of

from ms_keras.data.images import decode_for_scoring
from ms_keras.models import build_tower
from ms_keras.retrieval.scann_settings import ScannSettings
from ms_keras.serving import ServingOptions, save_serving_model
from ms_keras.serving.catalogue import Catalogue
from ms_keras.serving.loaded_tower import load_tower
from ms_keras.serving.retrieval_model import (
    LookupOptions,
    RetrievalModel,
    save_retrieval_model,
)
from ms_keras.serving.scann_lookup import op_library

SIZE, SHORT_SIDE, DIM, K, ITEMS = 32, 36, 8, 5, 400
IMAGES = np.random.default_rng(0).uniform(0, 255, (3, SIZE, SIZE, 3)).astype("f4")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Two image files, of smooth colours that JPEG keeps."""
    folder = tmp_path_factory.mktemp("photographs")
    image = tf.cast(tf.image.resize(IMAGES[0], (50, 70)), tf.uint8)
    (folder / "a.jpg").write_bytes(tf.io.encode_jpeg(image).numpy())
    (folder / "b.png").write_bytes(tf.io.encode_png(255 - image).numpy())
    return [folder / "a.jpg", folder / "b.png"]


def scored(paths):
    """Returns images as scoring decodes them."""
    return tf.stack(
        [decode_for_scoring(path.read_bytes(), SIZE, SHORT_SIDE) for path in paths]
    )


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return c_program.compiled(tmp_path_factory.mktemp("c"))


@pytest.fixture(
    scope="module",
    params=["batch_norm", "replicas", "mixed_float16", "mixed_bfloat16"],
)
def served(request, two_replicas, tmp_path_factory):
    """What a tower computes, trained if that is quick, and its SavedModel."""
    on_replicas = request.param == "replicas"
    strategy = two_replicas if on_replicas else tf.distribute.get_strategy()
    policy = request.param if "mixed" in request.param else "float32"
    deep = request.param == "batch_norm"
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        with strategy.scope():
            backbone = "mobilenet_v2_0.35" if deep else "small_conv"
            tower = build_tower(backbone, 8, SIZE, weights=None)
            tower.compile("adam", loss="mse")
        if not deep:
            tower.fit(IMAGES[:2], np.eye(2, 8), verbose=0)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    directory = tmp_path_factory.mktemp("served") / "1"
    save_serving_model(tower, directory, short_side=SHORT_SIDE)
    # Compiled: half precision rounds elsewhere when run eagerly.
    return tf.function(lambda images: tower(images, training=False)), directory


def test_pixels_embed_as_in_python(program, served, tmp_path):
    embed, directory = served
    IMAGES.tofile(tmp_path / "pixels")
    outputs = outputs_of(
        program, directory, "serving_default", "pixels", SIZE, tmp_path / "pixels"
    )
    np.testing.assert_allclose(outputs["embeddings"], embed(IMAGES), atol=1e-6)


def test_files_embed_as_in_python(program, served, photographs):
    embed, directory = served
    outputs = outputs_of(program, directory, "embed_bytes", "files", *photographs)
    np.testing.assert_allclose(
        outputs["embeddings"], embed(scored(photographs)), atol=1e-6
    )


def test_files_that_cannot_be_read_have_rows_of_zeros(program, served, photographs):
    embed, directory = served
    cut = photographs[0].with_name("cut.jpg")
    cut.write_bytes(photographs[0].read_bytes()[:200])
    files = [photographs[0], cut, photographs[1]]
    outputs = outputs_of(program, directory, "embed_bytes_safe", "files", *files)
    assert outputs["readable"].tolist() == [True, False, True]
    assert not outputs["embeddings"][1].any()
    np.testing.assert_allclose(
        outputs["embeddings"][[0, 2]], embed(scored(photographs)), atol=1e-6
    )


def test_a_file_that_cannot_be_read_is_named(program, served, tmp_path):
    _, directory = served
    (tmp_path / "no.jpg").write_bytes(b"no image")
    process, _ = finished(
        program, directory, "embed_bytes", "files", tmp_path / "no.jpg"
    )
    assert process.returncode == 1
    assert "image_bytes[0] of 1 is not a readable JPEG or PNG" in process.stderr


def test_no_files_give_no_rows(program, served):
    # TensorFlow's fused convolution with batch norm fails on an empty batch.
    _, directory = served
    outputs = outputs_of(program, directory, "embed_bytes", "files")
    assert len(outputs["embeddings"]) == 0


@pytest.mark.parametrize(
    "options", [ServingOptions(output="int8"), ServingOptions(dim=5)]
)
def test_options_serve_as_in_python(program, photographs, options, tmp_path):
    tower = build_tower("small_conv", 8, SIZE, weights=None)
    directory = tmp_path / "1"
    save_serving_model(tower, directory, short_side=SHORT_SIDE, options=options)
    rows = np.asarray(tower(scored(photographs), training=False))
    for signature in ("embed_bytes", "embed_bytes_safe"):
        outputs = outputs_of(program, directory, signature, "files", *photographs)
        if options.output == "int8":
            assert outputs["embeddings"].dtype == np.int8
            np.testing.assert_allclose(outputs["embeddings"], rows * 127, atol=0.51)
        else:
            kept = rows[:, :5]
            kept = kept / np.linalg.norm(kept, axis=1, keepdims=True)
            np.testing.assert_allclose(outputs["embeddings"], kept, atol=1e-6)


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tower") / "1"
    save_serving_model(
        build_tower("small_conv", DIM, SIZE, weights=None),
        directory,
        short_side=SHORT_SIDE,
    )
    return load_tower(directory)


@pytest.fixture(
    scope="module",
    params=[
        LookupOptions(K),
        LookupOptions(K, dtype="bfloat16"),
        LookupOptions(K, search="scann"),
        LookupOptions(K, search="scann", settings=ScannSettings(8, 8, 200)),
    ],
    ids=["exact", "bfloat16", "scann", "scann with leaves"],
)
def retrieval(request, tower, tmp_path_factory):
    """A retrieval model, and the library that the loader needs for it."""
    rows = np.random.default_rng(1).normal(size=(ITEMS, DIM)).astype("f4")
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    catalogue = Catalogue([f"birds/{i} é.jpg" for i in range(ITEMS)], rows)
    library = "-"
    if request.param.search == "scann":
        pytest.importorskip("scann")
        library = op_library()
    directory = tmp_path_factory.mktemp("retrieval") / "1"
    save_retrieval_model(RetrievalModel(tower, catalogue, request.param), directory)
    return directory, catalogue, library


def nearest(queries, catalogue, directory):
    """Returns ids and cosines by sorting all."""
    rows = catalogue.rows
    if "bfloat16" in (directory / "assets/model_card.json").read_text():
        rows = rows.astype(tf.bfloat16.as_numpy_dtype).astype("f4")
    cosines = queries @ rows.T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :K]
    ids = np.array(catalogue.ids, dtype=object)[order]
    return ids, np.take_along_axis(cosines, order, axis=1)


def test_embeddings_find_the_nearest(program, retrieval, tmp_path):
    directory, catalogue, library = retrieval
    queries = np.random.default_rng(2).normal(size=(70, DIM)).astype("f4")
    queries.tofile(tmp_path / "rows")
    outputs = outputs_of(
        program,
        directory,
        "search_embeddings",
        *("rows", DIM, tmp_path / "rows"),
        library=library,
    )
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    ids, cosines = nearest(queries, catalogue, directory)
    np.testing.assert_allclose(outputs["scores"], cosines, atol=1e-5)
    assert (outputs["ids"] == ids).mean() > 0.999  # equal up to rounding may swap


@pytest.mark.parametrize("signature", ["search_bytes", "serving_default"])
def test_files_find_the_nearest(program, retrieval, tower, photographs, signature):
    directory, catalogue, library = retrieval
    outputs = outputs_of(
        program, directory, signature, "files", *photographs, library=library
    )
    queries, _ = tower.embed([path.read_bytes() for path in photographs])
    ids, cosines = nearest(queries, catalogue, directory)
    np.testing.assert_allclose(outputs["scores"], cosines, atol=1e-5)
    np.testing.assert_array_equal(outputs["ids"], ids)


@pytest.mark.parametrize("signature", ["embed_bytes", "embed_bytes_safe"])
def test_a_catalogue_embeds_as_its_tower(
    program, retrieval, tower, photographs, signature
):
    directory, _, library = retrieval
    outputs = outputs_of(
        program, directory, signature, "files", *photographs, library=library
    )
    queries, _ = tower.embed([path.read_bytes() for path in photographs])
    np.testing.assert_allclose(outputs["embeddings"], queries, atol=1e-6)


def test_every_signature_was_asked_for(served, retrieval):
    # Those above; a new one needs a test of its own.
    of_tower = {"serving_default", "embed_bytes", "embed_bytes_safe"}
    assert set(signatures_of(served[1])) == of_tower
    both = {*of_tower, "search_bytes", "search_embeddings"}
    assert set(signatures_of(retrieval[0])) == both


def test_without_the_library_the_op_is_missing(program, retrieval, photographs):
    directory, _, library = retrieval
    if library == "-":
        pytest.skip("needs none")
    process, _ = finished(program, directory, "search_bytes", "files", *photographs)
    assert process.returncode == 1
    assert "Scann" in process.stderr


@pytest.mark.skipif(
    not hasattr(tf.keras, "version"), reason="Keras 2 hangs its variables on modules"
)
def test_the_loader_notices_variables_that_python_does_not_miss(program, tmp_path):
    tower = build_tower("small_conv", 8, SIZE, weights=None)
    module = tf.Module()
    module.tower = tower
    directory = tmp_path / "1"
    spec = tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32, name="images")
    function = tf.function(lambda images: {"embeddings": module.tower(images)})
    tf.saved_model.save(module, str(directory), function.get_concrete_function(spec))
    IMAGES.tofile(tmp_path / "pixels")
    signature = tf.saved_model.load(str(directory)).signatures["serving_default"]
    assert signature(images=IMAGES)["embeddings"].shape == (3, 8)
    process, _ = finished(
        program, directory, "serving_default", "pixels", SIZE, tmp_path / "pixels"
    )
    assert process.returncode == 1
    assert "Could not find variable" in process.stderr
