"""Requests that TF Serving would warm up with, read by the official messages."""

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.models import build_tower
from ms_keras.serving import ServingOptions, save_serving_model
from ms_keras.serving.catalogue import Catalogue
from ms_keras.serving.loaded_tower import load_tower
from ms_keras.serving.retrieval_model import (
    LookupOptions,
    RetrievalModel,
    save_retrieval_model,
)
from ms_keras.serving.warmup import (
    WARMUP_FILE,
    can_write_warmup,
    with_warmup,
    write_warmup,
)


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    if not can_write_warmup():
        pytest.skip("tensorflow-serving-api is not installed")
    version = tmp_path_factory.mktemp("models") / "birds" / "1"
    tower = build_tower("small_conv", 8, 32, weights=None)
    save_serving_model(tower, version, short_side=36, warmup=True)
    return version


def asked_of(version):
    """Runs the requests, and returns signatures with batch sizes."""
    from tensorflow_serving.apis import prediction_log_pb2

    signatures = tf.saved_model.load(str(version)).signatures
    asked = set()
    for record in tf.data.TFRecordDataset(str(version / WARMUP_FILE)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        assert request.model_spec.name == "birds"
        inputs = {
            name: tf.constant(tf.make_ndarray(value))
            for name, value in request.inputs.items()
        }
        (batch,) = {len(value) for value in inputs.values()}
        found = signatures[request.model_spec.signature_name](**inputs)
        assert all(len(values) == batch for values in found.values())
        assert np.all(found.get("readable", True))
        asked.add((request.model_spec.signature_name, batch))
    assert {name for name, _ in asked} == set(signatures)
    return asked


def batches_of(asked):
    (batches,) = {
        tuple(sorted(batch for name, batch in asked if name == signature))
        for signature, _ in asked
    }
    return batches


def test_each_request_runs_and_names_the_model(version):
    assert batches_of(asked_of(version)) == (1, 16)


LIMITS = [
    (ServingOptions(max_batch=1, max_pixels=4095), (1,)),
    (ServingOptions(max_batch=5, max_pixels=1), (1, 5)),
]


@pytest.mark.parametrize(("options", "batches"), LIMITS)
def test_requests_keep_to_the_limits_of_tower_and_catalogue(options, batches, tmp_path):
    if not can_write_warmup():
        pytest.skip("tensorflow-serving-api is not installed")
    tower = build_tower("small_conv", 8, 32, weights=None)
    version = tmp_path / "birds" / "1"
    save_serving_model(tower, version, short_side=36, options=options, warmup=True)
    assert batches_of(asked_of(version)) == batches
    catalogue = Catalogue(["a", "b"], np.eye(2, 8, dtype="f4"))
    model = RetrievalModel(load_tower(version), catalogue, LookupOptions(1))
    save_retrieval_model(model, tmp_path / "birds" / "2", warmup=True)
    assert batches_of(asked_of(tmp_path / "birds" / "2")) == batches


def test_a_request_that_the_model_refuses_is_told(tmp_path):
    if not can_write_warmup():
        pytest.skip("tensorflow-serving-api is not installed")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def refuse(image_bytes):
        with tf.control_dependencies([tf.debugging.Assert(False, ["never"])]):
            return {"embeddings": tf.zeros([tf.size(image_bytes), 8])}

    signatures = {"embed_bytes": refuse.get_concrete_function()}
    with pytest.raises(ValueError, match=r"embed_bytes, but fails.*--warmup=no"):
        write_warmup(tmp_path, signatures, "birds", max_batch=4, max_pixels=99)


def test_without_the_package_yes_is_refused_at_once(monkeypatch, capsys):
    monkeypatch.setattr("ms_keras.serving.warmup.can_write_warmup", lambda: False)
    with pytest.raises(ValueError, match=r"pip install 'ms_keras\[serving\]'"):
        with_warmup("yes")
    assert not with_warmup("auto")
    assert "--warmup=no" in capsys.readouterr().out


def test_without_the_package_they_are_refused_and_nothing_is_left(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("ms_keras.serving.warmup.can_write_warmup", lambda: False)
    tower = build_tower("small_conv", 8, 32, weights=None)
    with pytest.raises(ValueError, match=r"pip install 'ms_keras\[serving\]'"):
        save_serving_model(tower, tmp_path / "1", short_side=36, warmup=True)
    assert list(tmp_path.iterdir()) == []
