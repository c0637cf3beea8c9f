"""What Keras users rely on, for every loss of the family alike."""

import inspect
import json

import numpy as np
import pytest
import tensorflow as tf
from family import ALL, EXACT, make
from naive import unit_rows

import ms_keras
from ms_keras import losses
from ms_keras.losses import LOSSES, PairStatistics, engine

ROWS = unit_rows(np.random.default_rng(0), 12, 4).astype("f4")
LABELS = np.repeat(range(4), 3)


def small_model():
    inputs = tf.keras.Input([6])
    initial = tf.keras.initializers.GlorotUniform(seed=1)
    outputs = tf.keras.layers.Dense(4, kernel_initializer=initial)(inputs)
    return tf.keras.Model(inputs, outputs)


def inputs_and_labels():
    """Returns three classes of separable points."""
    rng = np.random.default_rng(1)
    labels = np.repeat(range(3), 4)
    centres = rng.normal(size=(3, 6))
    x = centres[labels] + rng.normal(scale=0.7, size=(12, 6))
    return x.astype("f4"), labels


def fitted(name, epochs=15, **arguments):
    x, labels = inputs_and_labels()
    model = small_model()
    loss = make(name)
    metrics = [PairStatistics(loss)]
    model.compile("adam", loss=loss, metrics=metrics, **arguments)
    model.optimizer.learning_rate = 0.05
    history = model.fit(
        x, labels, batch_size=12, epochs=epochs, shuffle=False, verbose=0
    )
    return model, np.array(history.history["loss"])


@pytest.mark.parametrize("name", ALL)
def test_fit_lowers_the_loss(name):
    _, values = fitted(name, jit_compile=False)
    assert np.isfinite(values).all()
    assert values[-3:].mean() < values[:3].mean()


@pytest.mark.parametrize("known", ["labels", "rows", "neither"])
@pytest.mark.parametrize("name", EXACT)
def test_a_batch_known_in_part_when_traced_gives_the_same(name, known):
    loss = make(name, reduction="none")
    signature = [
        tf.TensorSpec([12] if known == "labels" else [None], tf.int64),
        tf.TensorSpec([12 if known == "rows" else None, 4], tf.float32),
    ]
    traced = tf.function(loss, input_signature=signature)
    np.testing.assert_allclose(
        traced(LABELS, ROWS), loss(LABELS, ROWS), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", EXACT)
def test_fit_compiled_by_xla_as_a_whole(name):
    """Keras 3 does so by itself where it can."""
    _, values = fitted(name, epochs=3, jit_compile=True)
    _, expected = fitted(name, epochs=3, jit_compile=False)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_fit_under_mixed_precision(name):
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        _, values = fitted(name, jit_compile=False)  # half-precision embeddings
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert np.isfinite(values).all()
    assert values[-3:].mean() < values[:3].mean()


@pytest.mark.parametrize("name", EXACT)
def test_eager_graph_and_xla_agree(name):
    loss = make(name)

    def value_and_gradient(labels, rows):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            value = loss(labels, rows)
        return value, tape.gradient(value, rows)

    eager = value_and_gradient(tf.constant(LABELS), tf.constant(ROWS))
    for jit_compile in (False, True):
        compiled = tf.function(value_and_gradient, jit_compile=jit_compile)
        graph = compiled(tf.constant(LABELS), tf.constant(ROWS))
        np.testing.assert_allclose(graph[0], eager[0], rtol=1e-5)
        np.testing.assert_allclose(graph[1], eager[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", EXACT)
def test_dynamic_batch_size_in_one_trace(name):
    recipe, traces = make(name).recipe, []

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64),
            tf.TensorSpec([None, 4], tf.float32),
        ]
    )
    def mean(labels, rows):
        traces.append(1)
        return tf.reduce_mean(engine.pair_losses(recipe, labels, rows))

    for count in (12, 7, 1):
        expected = engine.pair_losses(recipe, LABELS[:count], ROWS[:count])
        value = mean(LABELS[:count], ROWS[:count])
        np.testing.assert_allclose(value, np.mean(expected), rtol=1e-5)
    assert len(traces) == 1


@pytest.mark.parametrize("name", ALL)
def test_a_compiled_model_comes_back_from_a_keras_file(name, tmp_path):
    model, _ = fitted(name, epochs=1, jit_compile=False)
    model.save(tmp_path / "model.keras")
    again = tf.keras.models.load_model(tmp_path / "model.keras")
    assert type(again.loss) is type(model.loss)
    assert again.loss.get_config() == model.loss.get_config()
    assert again.loss.recipe == model.loss.recipe
    x, labels = inputs_and_labels()
    expected, result = (
        m.evaluate(x, labels, batch_size=12, verbose=0, return_dict=True)
        for m in (model, again)
    )
    assert result == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_config_is_plain_json_and_rebuilds_the_loss(name):
    loss = make(name, reduction="sum", name="mine")
    config = json.loads(json.dumps(loss.get_config()))
    again = type(loss).from_config(config)
    assert again.recipe == loss.recipe
    assert again.get_config() == loss.get_config()
    assert again.name == "mine"
    np.testing.assert_allclose(again(LABELS, ROWS), loss(LABELS, ROWS))


@pytest.mark.parametrize("name", ALL)
def test_one_value_per_anchor_and_keras_reductions(name):
    each = make(name, reduction="none")(LABELS, ROWS)
    assert each.shape == (12,)
    np.testing.assert_allclose(make(name)(LABELS, ROWS), np.mean(each), rtol=1e-5)
    weight = np.arange(12, dtype="f4")
    weighted = make(name)(LABELS, ROWS, sample_weight=weight)
    np.testing.assert_allclose(weighted, np.sum(each * weight) / 12, rtol=1e-5)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("labels", [[7] * 4, [1, 2, 3, 4]], ids=["one class", "many"])
def test_degenerate_batches_are_finite_and_attached_to_the_graph(labels, name):
    rows = tf.constant(ROWS[:4])
    with tf.GradientTape() as tape:
        tape.watch(rows)
        value = make(name)(np.array(labels), rows)
    assert np.isfinite(value)
    assert np.isfinite(tape.gradient(value, rows)).all()


@pytest.mark.parametrize("name", ALL)
def test_one_row_and_no_row(name):
    recipe = make(name).recipe
    one = engine.pair_losses(recipe, np.array([1]), np.ones((1, 3), "f4"))
    assert one.numpy().tolist() == [0.0]
    none = engine.pair_losses(recipe, np.zeros(0, int), np.zeros((0, 3), "f4"))
    assert none.shape == (0,)


@pytest.mark.parametrize("name", ALL)
def test_duplicate_zero_and_huge_rows_are_finite(name):
    rows = ROWS.copy()
    rows[1], rows[4], rows[7] = rows[0], rows[0], 0
    rows[10] *= 1e30
    rows = tf.constant(rows)
    with tf.GradientTape() as tape:
        tape.watch(rows)
        value = make(name)(LABELS, rows)
    assert np.isfinite(value)
    assert np.isfinite(tape.gradient(value, rows)).all()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_embeddings_show_in_the_loss(bad, name):
    rows = ROWS.copy()
    rows[2, 1] = bad
    assert np.isnan(make(name)(LABELS, rows))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_rows_are_raised_to_float32_first(dtype, name):
    rows = tf.cast(ROWS, dtype)
    recipe = make(name).recipe
    losses_ = engine.pair_losses(recipe, LABELS, rows)
    assert losses_.dtype == tf.float32
    expected = engine.pair_losses(recipe, LABELS, tf.cast(rows, tf.float32))
    np.testing.assert_array_equal(losses_, expected)


@pytest.mark.parametrize("name", LOSSES)
def test_the_function_of_the_same_name_gives_the_losses(name):
    loss, function = LOSSES[name](), getattr(losses, f"{name}_loss")
    assert loss.name == f"{name}_loss"
    assert getattr(ms_keras, type(loss).__name__) is type(loss)
    assert getattr(ms_keras, f"{name}_loss") is function
    expected = engine.pair_losses(loss.recipe, LABELS, ROWS)
    np.testing.assert_allclose(function(LABELS, ROWS), expected, rtol=1e-6)
    of_references = function(LABELS, ROWS, LABELS[:5], ROWS[:5])
    assert of_references.shape == (12,)


@pytest.mark.parametrize("name", LOSSES)
def test_class_and_function_have_the_same_parameters_and_document_them(name):
    loss, function = LOSSES[name], getattr(losses, f"{name}_loss")

    def parameters(callable_, but):
        found = inspect.signature(callable_).parameters
        return {n: p.default for n, p in found.items() if n not in but}

    own = parameters(loss, ("reduction", "name"))
    places = ("labels", "embeddings", "reference_labels", "references")
    assert own == parameters(function, places)
    for parameter in own:
        assert f"\n        {parameter}: " in inspect.getdoc(loss).replace(
            f"\n    {parameter}: ", f"\n        {parameter}: "
        )
    assert "Reference:" in loss.__doc__
    assert "Example:" in loss.__doc__
    assert len(own) + 2 <= 7


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("contrastive", {"lambda_": np.nan}, "lambda_ must be finite"),
        ("triplet", {"selection": "hardest"}, "semi_hard"),
        ("lifted_structure", {"margin": np.inf}, "margin must be finite"),
        ("lifted_star", {"alpha": 0}, "alpha must be above 0"),
        ("n_pairs", {"scale": -1}, "scale must be above 0"),
        ("nca", {"scale": 0}, "scale must be above 0"),
        ("histogram", {"bins": 1}, "at least 2"),
        ("histogram", {"bins": 10.5}, "whole number"),
        ("binomial_deviance", {"beta": 0}, "beta must be above 0"),
        ("bin_lifted", {"alpha": -2}, "alpha must be above 0"),
        ("margin", {"beta": np.nan}, "beta must be finite"),
        ("margin", {"mining": "distance_weighted"}, "mining must be a Mining"),
        ("contrastive", {"mining": losses.MultiSimilarityMining}, "not its class"),
    ],
)
def test_parameters_out_of_range_are_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        LOSSES[name](**arguments)
    function = getattr(losses, f"{name}_loss")
    with pytest.raises(ValueError, match=message):
        function(LABELS, ROWS, **arguments)


def test_a_weighting_that_is_none_is_refused():
    with pytest.raises(ValueError, match="weighting must be a Weighting"):
        losses.PairLoss(losses.ContrastiveLoss())


@pytest.mark.parametrize("name", ["ms", "triplet"])
@pytest.mark.parametrize("references", [None, ROWS[:5]])
def test_a_second_derivative_is_refused(name, references):
    """It would lack how weights depend on embeddings, without a word."""
    rows = tf.constant(ROWS)
    labels = None if references is None else LABELS[:5]
    with tf.GradientTape() as outer:
        outer.watch(rows)
        with tf.GradientTape() as inner:
            inner.watch(rows)
            values = engine.pair_losses(
                make(name).recipe, LABELS, rows, labels, references
            )
        first = inner.gradient(values, rows)
    with pytest.raises(tf.errors.InvalidArgumentError, match="no gradient of its own"):
        outer.gradient(first, rows)


def test_a_persistent_tape_around_a_graph_takes_first_derivatives():
    """TensorFlow prepares second ones then, which nobody asks for."""
    rows, recipe = tf.constant(ROWS), make("ms").recipe
    graph = tf.function(lambda rows: engine.pair_losses(recipe, LABELS, rows))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(rows)
        values, same_values = graph(rows), engine.pair_losses(recipe, LABELS, rows)
    np.testing.assert_allclose(
        tape.gradient(values, rows), tape.gradient(same_values, rows), atol=1e-6
    )
