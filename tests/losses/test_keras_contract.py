"""What Keras users rely on: reductions, weights, labels, dtypes, XLA, saving."""

import json

import numpy as np
import pytest
import tensorflow as tf
from naive import multi_similarity, unit_rows

import ms_keras

ROWS = unit_rows(np.random.default_rng(0), 12, 4).astype("f4")
LABELS = np.repeat(range(4), 3)
EXPECTED = multi_similarity(LABELS, ROWS)[0]


def small_model(dim=4, dtype=None):
    inputs = tf.keras.Input([6])
    outputs = tf.keras.layers.Dense(dim, dtype=dtype)(inputs)
    return tf.keras.Model(inputs, outputs)


def inputs_and_labels(count=12):
    rng = np.random.default_rng(1)
    return rng.normal(size=(count, 6)).astype("f4"), np.repeat(range(count // 3), 3)


@pytest.mark.parametrize(
    ("reduction", "reduce"),
    [("sum_over_batch_size", np.mean), ("sum", np.sum), ("none", np.array)],
)
def test_reductions_are_those_of_keras(reduction, reduce):
    loss = ms_keras.MultiSimilarityLoss(reduction=reduction)
    np.testing.assert_allclose(loss(LABELS, ROWS), reduce(EXPECTED), rtol=1e-5)


def test_none_as_reduction_gives_one_value_per_anchor():
    loss = ms_keras.MultiSimilarityLoss(reduction=None)
    assert loss(LABELS, ROWS).shape == (12,)


def test_sample_weight_scales_anchors():
    weight = np.arange(12, dtype="f4")
    value = ms_keras.MultiSimilarityLoss()(LABELS, ROWS, sample_weight=weight)
    np.testing.assert_allclose(value, np.sum(EXPECTED * weight) / 12, rtol=1e-5)


@pytest.mark.parametrize("shape", [(12,), (12, 1)])
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float32", "float64"])
def test_labels_of_any_usual_shape_and_dtype(shape, dtype):
    labels = tf.constant(LABELS.reshape(shape).astype(dtype))
    value = ms_keras.MultiSimilarityLoss()(labels, ROWS)
    np.testing.assert_allclose(value, EXPECTED.mean(), rtol=1e-5)


@pytest.mark.parametrize("start", [2**24, -(2**24) - 2, 2**53, 2**62, -(2**63)])
def test_large_neighbouring_ids_stay_apart(start):
    labels = tf.constant(start + LABELS, tf.int64)
    value = ms_keras.MultiSimilarityLoss()(labels, ROWS)
    np.testing.assert_allclose(value, EXPECTED.mean(), rtol=1e-5)


def test_large_neighbouring_ids_stay_apart_in_fit():
    x, labels = inputs_and_labels()
    model = small_model()
    model.compile("sgd", loss=ms_keras.MultiSimilarityLoss())
    small = model.evaluate(x, labels, batch_size=12, verbose=0)
    large = model.evaluate(x, labels + 2**24, batch_size=12, verbose=0)
    assert small == pytest.approx(large, rel=1e-6)
    assert small > 0


@pytest.mark.parametrize(
    ("labels", "embeddings", "message"),
    [
        (np.array(["a", "b"]), np.ones((2, 3), "f4"), "integer class ids"),
        (np.array([0, 1], "f2"), np.ones((2, 3), "f4"), "half precision"),
        (np.eye(3, dtype="i8"), np.ones((3, 3), "f4"), "argmax"),
        (np.array([0, 1]), np.ones(2, "f4"), r"\[batch, dim\]"),
        (np.array([0, 1]), np.ones((2, 3, 3), "f4"), r"\[batch, dim\]"),
        (np.array([0, 1, 2]), np.ones((2, 3), "f4"), "3 labels and 2 rows"),
        (np.array([0]), np.ones((2, 3), "f4"), "1 labels and 2 rows"),
    ],
)
def test_bad_input_is_told_apart(labels, embeddings, message):
    with pytest.raises(ValueError, match=message):
        ms_keras.MultiSimilarityLoss()(labels, embeddings)
    with pytest.raises(ValueError, match=message):
        ms_keras.MultiSimilarityLoss().pair_weights(labels, embeddings)


def test_embeddings_in_place_of_labels_are_told_apart():
    with pytest.raises(ValueError, match="embeddings second"):
        ms_keras.multi_similarity_loss(LABELS, LABELS[:, None])


def test_references_come_with_labels_and_fit_the_embeddings():
    function = ms_keras.multi_similarity_loss
    with pytest.raises(ValueError, match="reference_labels=None"):
        function(LABELS, ROWS, references=ROWS)
    with pytest.raises(ValueError, match="references=None"):
        function(LABELS, ROWS, LABELS)
    with pytest.raises(ValueError, match="same dim"):
        function(LABELS, ROWS, LABELS, ROWS[:, :2])
    with pytest.raises(ValueError, match="5 labels and 12 rows"):
        function(LABELS, ROWS, LABELS[:5], ROWS)


@pytest.mark.parametrize(
    "arguments",
    [{"alpha": 0}, {"beta": -1}, {"lambda_": np.nan}, {"epsilon": np.inf}],
)
def test_parameters_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        ms_keras.MultiSimilarityLoss(**arguments)


@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_eager_graph_and_xla_agree(jit_compile):
    loss = ms_keras.MultiSimilarityLoss()

    def value_and_gradient(labels, rows):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            value = loss(labels, rows)
        return value, tape.gradient(value, rows)

    eager = value_and_gradient(tf.constant(LABELS), tf.constant(ROWS))
    compiled = tf.function(value_and_gradient, jit_compile=jit_compile)
    graph = compiled(tf.constant(LABELS), tf.constant(ROWS))
    np.testing.assert_allclose(eager[0], EXPECTED.mean(), rtol=1e-5)
    np.testing.assert_allclose(graph[0], eager[0], rtol=1e-6)
    np.testing.assert_allclose(graph[1], eager[1], atol=1e-7)


def test_dynamic_batch_size_in_one_trace():
    traces = []

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None, 4], tf.float32),
        ]
    )
    def losses(labels, rows):
        traces.append(1)
        return ms_keras.multi_similarity_loss(labels, rows)

    for count in (12, 7, 1):
        expected, _ = multi_similarity(LABELS[:count], ROWS[:count])
        value = losses(LABELS[:count], ROWS[:count])
        np.testing.assert_allclose(value, expected, atol=1e-5)
    assert len(traces) == 1


@pytest.mark.parametrize("jit_compile", [False, True])
def test_fit_lowers_the_loss_also_with_a_smaller_last_batch(jit_compile):
    x, labels = inputs_and_labels(30)
    model = small_model()
    loss = ms_keras.MultiSimilarityLoss()
    model.compile("adam", loss=loss, jit_compile=jit_compile)
    model.optimizer.learning_rate = 0.05
    history = model.fit(x, labels, batch_size=18, epochs=15, shuffle=False, verbose=0)
    losses = history.history["loss"]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_fit_under_mixed_precision(policy):
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        x, labels = inputs_and_labels(30)
        model = small_model()  # gives half-precision embeddings
        model.compile("adam", loss=ms_keras.MultiSimilarityLoss(), jit_compile=False)
        model.optimizer.learning_rate = 0.05
        history = model.fit(x, labels, batch_size=30, epochs=30, verbose=0)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    losses = history.history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.9 * losses[0]


def test_config_is_plain_json_and_rebuilds_the_loss():
    loss = ms_keras.MultiSimilarityLoss(
        alpha=3,
        beta=50,
        lambda_=1,
        epsilon=0.2,
        mining=False,
        reduction="sum",
        name="x",
    )
    config = json.loads(json.dumps(loss.get_config()))
    again = ms_keras.MultiSimilarityLoss.from_config(config)
    assert again.get_config() == loss.get_config()
    assert config["beta"] == 50.0
    assert config["mining"] is False
    np.testing.assert_allclose(again(LABELS, ROWS), loss(LABELS, ROWS))


def test_a_compiled_model_comes_back_from_a_keras_file(tmp_path):
    x, labels = inputs_and_labels()
    model = small_model()
    loss = ms_keras.MultiSimilarityLoss(beta=30.0)
    model.compile("sgd", loss=loss, metrics=[ms_keras.PairStatistics(loss)])
    model.fit(x, labels, batch_size=12, verbose=0)
    model.save(tmp_path / "model.keras")
    again = tf.keras.models.load_model(tmp_path / "model.keras")
    assert again.loss.get_config() == loss.get_config()
    expected = model.evaluate(x, labels, batch_size=12, verbose=0, return_dict=True)
    result = again.evaluate(x, labels, batch_size=12, verbose=0, return_dict=True)
    assert result == pytest.approx(expected, rel=1e-6)
    assert {"loss", "kept_positives", "idle_anchors"} < set(result)
