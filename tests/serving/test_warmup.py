"""Requests that TF Serving would warm up with, read by the official messages."""

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.models import build_tower
from ms_keras.serving import save_serving_model
from ms_keras.serving.warmup import WARMUP_FILE, can_write_warmup


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    if not can_write_warmup():
        pytest.skip("tensorflow-serving-api is not installed")
    version = tmp_path_factory.mktemp("models") / "birds" / "1"
    tower = build_tower("small_conv", 8, 32, weights=None)
    save_serving_model(tower, version, short_side=36, warmup=True)
    return version


def test_each_request_runs_and_names_the_model(version):
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
        assert found["embeddings"].shape == (batch, 8)
        assert np.all(found.get("readable", True))
        asked.add((request.model_spec.signature_name, batch))
    assert asked == {(name, batch) for name in signatures for batch in (1, 16)}


def test_without_the_package_they_are_refused_and_nothing_is_left(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("ms_keras.serving.warmup.can_write_warmup", lambda: False)
    tower = build_tower("small_conv", 8, 32, weights=None)
    with pytest.raises(ValueError, match=r"pip install 'ms_keras\[serving\]'"):
        save_serving_model(tower, tmp_path / "1", short_side=36, warmup=True)
    assert list(tmp_path.iterdir()) == []
