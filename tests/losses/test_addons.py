"""Addons' baselines: their values restated, and all that Addons leaves to callers."""

import json
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf
from naive import unit_rows

from ms_keras.losses.addons import ADDONS_LOSSES, AddonsLoss

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_addons  # noqa: F401
except ImportError as error:
    reason = f"tensorflow_addons: Python 3.10-3.11 with TensorFlow 2.15 only ({error})"
    needs_addons = pytest.mark.skip(reason=reason)
else:
    needs_addons = pytest.mark.filterwarnings("default")  # a mark that does nothing

every_loss = pytest.mark.parametrize("name", ADDONS_LOSSES)


def naive(name, labels, rows, margin=1.0):
    """Addons' rules as loops in float64, over rows of norm 1."""
    rows = np.asarray(rows, np.float64)
    everyone = range(len(rows))
    similarity = rows @ rows.T
    distance = [[np.linalg.norm(a - b) for b in rows] for a in rows]

    def positives(i):
        return [j for j in everyone if j != i and labels[j] == labels[i]]

    def negatives(i):
        return [j for j in everyone if labels[j] != labels[i]]

    terms = []
    if name == "contrastive":
        for i in everyone:
            for j in range(i + 1, len(rows)):
                d = distance[i][j]
                same = labels[i] == labels[j]
                terms.append(d**2 if same else max(margin - d, 0) ** 2)
    elif name == "triplet_hard":
        for i in everyone:
            farthest = max((distance[i][j] for j in positives(i)), default=0)
            # Without a negative, Addons takes the farthest row of all.
            nearest = min(
                (distance[i][j] for j in negatives(i)), default=max(distance[i])
            )
            terms.append(max(farthest - nearest + margin, 0))
    elif name == "triplet_semihard":
        for i in everyone:
            others = [distance[i][j] for j in negatives(i)]
            for p in positives(i):
                farther = [d for d in others if d > distance[i][p]]
                # Without a negative, Addons takes the anchor itself, at distance 0.
                chosen = min(farther) if farther else max(others, default=0)
                terms.append(max(distance[i][p] - chosen + margin, 0))
    elif name == "lifted":
        for i in everyone:
            for j in positives(i):
                if j > i:
                    near = [distance[i][k] for k in negatives(i)]
                    near += [distance[j][k] for k in negatives(j)]
                    total = sum(np.exp(margin - d) for d in near)
                    terms.append(max(np.log(total) + distance[i][j], 0) ** 2 / 2)
    elif name == "npairs":
        for i in everyone:
            logs = similarity[i] - np.log(sum(np.exp(similarity[i])))
            terms.append(-np.mean([logs[j] for j in [i, *positives(i)]]))
    return np.mean(terms)


def value_and_gradient(loss, labels, rows):
    rows = tf.convert_to_tensor(rows)
    with tf.GradientTape() as tape:
        tape.watch(rows)
        value = loss(labels, rows)
    return value.numpy(), tape.gradient(value, rows).numpy()


def random_batch(seed, count=16):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 5, count), unit_rows(rng, count, 4)


@needs_addons
@every_loss
@pytest.mark.parametrize("margin", [None, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_values_agree_with_naive_loops(name, margin, seed):
    if name == "npairs" and margin is not None:
        pytest.skip("npairs has no margin")
    labels, rows = random_batch(seed)
    labels[0] = 9  # a singleton
    expected = naive(name, labels, rows, *([margin] if margin else []))
    for scale in (1, 1e-3, 1e6):  # rows are normalised inside
        value = AddonsLoss(name, margin)(labels, rows * scale)
        np.testing.assert_allclose(value, expected, rtol=2e-5)


@needs_addons
@every_loss
def test_gradients_agree_with_finite_differences(name):
    labels, rows = random_batch(7, 8)
    step = 1e-6
    numeric = np.zeros_like(rows)
    for position in np.ndindex(rows.shape):
        sides = []
        for sign in (1, -1):
            moved = rows.copy()
            moved[position] += sign * step
            moved /= np.linalg.norm(moved, axis=1, keepdims=True)
            sides.append(naive(name, labels, moved))
        numeric[position] = (sides[0] - sides[1]) / (2 * step)
    _, gradient = value_and_gradient(AddonsLoss(name), labels, rows)
    assert np.abs(numeric).max() > 1e-3
    np.testing.assert_allclose(gradient, numeric, atol=2e-5)


@needs_addons
@every_loss
def test_duplicates_of_both_signs_have_finite_gradients(name):
    labels, rows = random_batch(1, 8)
    rows = np.concatenate([rows, rows, rows]).astype("f4")
    labels = np.concatenate([labels, labels, labels + 1])
    value, gradient = value_and_gradient(AddonsLoss(name), labels, rows)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() < 10


@needs_addons
@every_loss
def test_zero_rows_have_finite_losses_and_gradients(name):
    labels, rows = random_batch(2, 8)
    rows[:3] = 0
    value, gradient = value_and_gradient(AddonsLoss(name), labels, rows)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@needs_addons
@every_loss
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(16,), (16, 1)])
def test_any_float_precision_and_label_shape(name, dtype, shape):
    labels, rows = random_batch(3)
    rows = tf.cast(rows, dtype)
    value, gradient = value_and_gradient(AddonsLoss(name), labels.reshape(shape), rows)
    exact = tf.cast(rows, tf.float64).numpy()
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    np.testing.assert_allclose(value, naive(name, labels, exact), rtol=2e-5)
    assert gradient.dtype == rows.dtype.as_numpy_dtype


@needs_addons
@every_loss
@pytest.mark.parametrize("start", [2**24, -(2**24) - 2, 2**53])
def test_large_neighbouring_ids_stay_apart(name, start):
    labels, rows = random_batch(4)
    value = AddonsLoss(name)(tf.constant(start + labels, tf.int64), rows)
    np.testing.assert_allclose(value, naive(name, labels, rows), rtol=2e-5)


@needs_addons
@every_loss
def test_one_class_only_has_a_finite_loss_and_gradient(name):
    _, rows = random_batch(5)
    labels = np.zeros(16, int)
    value, gradient = value_and_gradient(AddonsLoss(name), labels, rows)
    expected = 0 if name == "lifted" else naive(name, labels, rows)
    np.testing.assert_allclose(value, expected, rtol=2e-5)
    assert np.isfinite(gradient).all()


@needs_addons
@every_loss
def test_singletons_only_have_a_finite_loss_and_gradient(name):
    _, rows = random_batch(6)
    labels = np.arange(16)
    value, gradient = value_and_gradient(AddonsLoss(name), labels, rows)
    if name in ("triplet_semihard", "lifted"):
        assert value == 0
        assert not gradient.any()
    else:
        np.testing.assert_allclose(value, naive(name, labels, rows), rtol=2e-5)
        assert np.isfinite(gradient).all()


@needs_addons
@every_loss
def test_one_row_has_zero_loss_and_gradient_and_no_row_has_no_loss(name):
    value, gradient = value_and_gradient(
        AddonsLoss(name), np.array([1]), np.ones((1, 3), "f4")
    )
    assert value == 0
    assert not gradient.any()
    losses = AddonsLoss(name, reduction="none")(np.zeros(0, int), np.zeros((0, 3)))
    assert losses.shape == (0,)


@needs_addons
@every_loss
@pytest.mark.parametrize("jit_compile", [False, True])
def test_eager_graph_and_xla_agree_also_where_addons_divides_by_zero(name, jit_compile):
    loss = AddonsLoss(name)

    @tf.function(jit_compile=jit_compile)
    def compiled(labels, rows):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            value = loss(labels, rows)
        return value, tape.gradient(value, rows)

    labels, rows = random_batch(8)
    for ids in (labels, np.arange(16)):
        expected, expected_gradient = value_and_gradient(loss, ids, rows)
        value, gradient = compiled(tf.constant(ids), tf.constant(rows))
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        np.testing.assert_allclose(gradient, expected_gradient, atol=1e-5)


@needs_addons
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "none", None])
def test_every_anchor_carries_the_value_of_the_batch(reduction):
    labels, rows = random_batch(9)
    expected = np.full(16, naive("triplet_hard", labels, rows))
    reduce = {"sum_over_batch_size": np.mean, "sum": np.sum}.get(reduction, np.array)
    value = AddonsLoss("triplet_hard", reduction=reduction)(labels, rows)
    np.testing.assert_allclose(value, reduce(expected), rtol=2e-5)


def small_model():
    inputs = tf.keras.Input([6])
    outputs = tf.keras.layers.Dense(4, kernel_initializer="orthogonal")(inputs)
    return tf.keras.Model(inputs, outputs)


def inputs_and_labels():
    rng = np.random.default_rng(1)
    return rng.normal(size=(30, 6)).astype("f4"), np.repeat(range(10), 3)


@needs_addons
@every_loss
def test_fit_lowers_the_loss_also_with_a_smaller_last_batch(name):
    x, labels = inputs_and_labels()
    model = small_model()
    model.compile("adam", loss=AddonsLoss(name))
    model.optimizer.learning_rate = 0.05
    history = model.fit(x, labels, batch_size=18, epochs=15, shuffle=False, verbose=0)
    losses = history.history["loss"]
    # An npairs loss of cosines stays near log(batch): it has no scale.
    assert losses[-1] < (0.98 if name == "npairs" else 0.9) * losses[0]


@needs_addons
@every_loss
def test_two_replicas_give_the_weights_of_one_device_after_three_steps(
    name, two_replicas
):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(36, 6)).astype("f4")
    labels = rng.integers(0, 4, 36)
    batches = tf.data.Dataset.from_tensor_slices((x, labels)).batch(12)
    weights, losses = [], []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            initial = tf.keras.initializers.GlorotUniform(seed=1)
            layer = tf.keras.layers.Dense(5, kernel_initializer=initial)
            model = tf.keras.Sequential([tf.keras.Input([6]), layer])
            model.compile(
                tf.keras.optimizers.SGD(0.5), loss=AddonsLoss(name), jit_compile=False
            )
        start = model.get_weights()
        losses.append(model.fit(batches, verbose=0).history["loss"])
        weights.append(model.get_weights())
    assert np.abs(weights[0][0] - start[0]).max() > 1e-3
    for expected, value in zip(*weights, strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-5)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


@needs_addons
@pytest.mark.parametrize("margin", [None, 0.2])
def test_config_is_plain_json_and_rebuilds_the_loss(margin):
    loss = AddonsLoss("lifted", margin, reduction="sum", name="x")
    config = json.loads(json.dumps(loss.get_config()))
    assert config["name_of_loss"] == "lifted"
    assert config["margin"] == margin
    again = AddonsLoss.from_config(config)
    assert again.get_config() == loss.get_config()
    np.testing.assert_allclose(again(*random_batch(0)), loss(*random_batch(0)))
    assert AddonsLoss("lifted").name == "addons_lifted"


@needs_addons
@every_loss
def test_a_compiled_model_comes_back_from_a_keras_file(name, tmp_path):
    x, labels = inputs_and_labels()
    model = small_model()
    model.compile("sgd", loss=AddonsLoss(name))
    model.fit(x, labels, batch_size=30, verbose=0)
    model.save(tmp_path / "model.keras")
    again = tf.keras.models.load_model(tmp_path / "model.keras")
    assert again.loss.get_config() == model.loss.get_config()
    expected = model.evaluate(x, labels, batch_size=30, verbose=0)
    result = again.evaluate(x, labels, batch_size=30, verbose=0)
    assert result == pytest.approx(expected, rel=1e-6)


@needs_addons
def test_bad_input_is_told_apart():
    loss = AddonsLoss("contrastive")
    with pytest.raises(ValueError, match="argmax"):
        loss(np.eye(3, dtype="i8"), np.ones((3, 3), "f4"))
    with pytest.raises(ValueError, match=r"\[batch, dim\]"):
        loss(np.array([0, 1]), np.ones((2, 3, 3), "f4"))


def test_unknown_names_and_unfit_margins_are_refused():
    with pytest.raises(ValueError, match=r"triplet_semihard.*'triplet'"):
        AddonsLoss("triplet")
    with pytest.raises(ValueError, match="finite"):
        AddonsLoss("lifted", margin=np.inf)
    with pytest.raises(ValueError, match="no margin"):
        AddonsLoss("npairs", margin=0.5)


@every_loss
def test_where_addons_is_missing_the_error_says_which_stack_has_it(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_addons", None)
    with pytest.raises(ValueError, match=name) as raised:
        AddonsLoss(name)
    for part in ("Python 3.10-3.11", "TensorFlow 2.15", "0.23", "2024", "Loss("):
        assert part in str(raised.value)


@needs_addons
def test_addons_end_of_life_warning_is_silent(monkeypatch):
    for module in [m for m in sys.modules if m.startswith("tensorflow_addons.utils")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, "tensorflow_addons")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        AddonsLoss("npairs")
