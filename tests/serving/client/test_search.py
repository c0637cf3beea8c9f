"""Connections find in a served catalogue what the SavedModel finds in process."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf
from serving_fixtures import (
    SERVERS,
    encoded,
    kserve_server,
    own_server,
    tensorflow_model_server,
)

from ms_keras.serving.catalogue import Catalogue
from ms_keras.serving.client import ModelSpec, ServerError, connect
from ms_keras.serving.loaded_tower import load_tower
from ms_keras.serving.retrieval_model import (
    LookupOptions,
    RetrievalModel,
    save_retrieval_model,
)

FILES = {f"{seed} é.png": encoded(seed) for seed in range(12)}
K = 3


@pytest.fixture(scope="module")
def catalogue(base, tmp_path_factory):
    """Folder of a catalogue's versions, the images of which are `FILES`."""
    tower = load_tower(base / "2")
    rows, _ = tower.embed(list(FILES.values()))
    model = RetrievalModel(tower, Catalogue(list(FILES), rows), LookupOptions(K))
    folder = tmp_path_factory.mktemp("catalogue") / "birds"
    save_retrieval_model(model, folder / "1")
    return folder


@pytest.fixture(scope="module", params=[s for s in SERVERS if s != "elsewhere"])
def server(request, catalogue):
    with contextlib.ExitStack() as stack:
        if request.param == "own gRPC":
            yield stack.enter_context(own_server(catalogue))
        elif request.param == "KServe":
            yield stack.enter_context(kserve_server(catalogue / "1"))
        else:
            both = stack.enter_context(tensorflow_model_server(catalogue))
            yield both["REST" in request.param]


def test_images_find_themselves_and_what_the_saved_model_finds(server, catalogue):
    connection = connect(server, ModelSpec("birds", "search_bytes"))
    contents = list(FILES.values())[:5]
    try:
        answer = connection.predict(contents)
        with pytest.raises(ServerError) as caught:
            connection.predict([contents[0], contents[1][:200]])
    finally:
        connection.close()
    assert caught.value.code in ("INVALID_ARGUMENT", "HTTP 400")
    signature = tf.saved_model.load(str(catalogue / "1")).signatures["search_bytes"]
    expected = signature(image_bytes=tf.constant(contents))
    ids = [[name.decode() for name in row] for row in expected["ids"].numpy()]
    assert answer["ids"].tolist() == ids
    assert [row[0] for row in ids] == list(FILES)[:5]
    np.testing.assert_allclose(answer["scores"], expected["scores"], atol=1e-5)
