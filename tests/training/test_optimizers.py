"""Weight decay goes where it should, and updates are those of the textbook."""

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.training.optimizers import L2Adam, build_optimizer


def tower():
    return tf.keras.Sequential(
        [
            tf.keras.Input([3]),
            tf.keras.layers.Dense(2, bias_initializer="ones"),
            tf.keras.layers.BatchNormalization(),
        ]
    )


def after_steps_without_gradient(name, steps=2, **arguments):
    model = tower()
    before = [v.numpy() for v in model.trainable_variables]
    optimizer = build_optimizer(name, 0.1, model, **arguments)
    zeros = [tf.zeros_like(v) for v in model.trainable_variables]
    for _ in range(steps):
        optimizer.apply_gradients(zip(zeros, model.trainable_variables, strict=True))
    after = [v.numpy() for v in model.trainable_variables]
    return [bool(np.any(a != b)) for a, b in zip(before, after, strict=True) if b.any()]


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_decay_leaves_biases_and_batch_norm_alone_unless_asked(name):
    kernel, bias, gamma = after_steps_without_gradient(name, weight_decay=0.1)
    assert (kernel, bias, gamma) == (True, False, False)
    assert all(after_steps_without_gradient(name, weight_decay=0.1, decay_vectors=True))
    assert not any(after_steps_without_gradient(name))


def test_adam_sees_the_decay_in_its_gradient():
    weights = np.array([[2.0], [-3.0]])
    variable = tf.Variable(weights, dtype=tf.float64)
    optimizer = L2Adam(l2=0.1, learning_rate=0.01, epsilon=1e-7)
    gradients = np.array([[[0.5], [0.1]], [[-0.2], [0.7]], [[0.3], [0.3]]])
    mean = square = np.zeros_like(weights)
    for step, gradient in enumerate(gradients, start=1):
        optimizer.apply_gradients([(tf.constant(gradient), variable)])
        full = gradient + 0.1 * weights
        mean = 0.9 * mean + 0.1 * full
        square = 0.999 * square + 0.001 * full**2
        rate = 0.01 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        weights = weights - rate * mean / (np.sqrt(square) + 1e-7)
    np.testing.assert_allclose(variable.numpy(), weights, rtol=1e-5)


def test_a_compiled_model_with_these_optimizers_is_saved_and_loaded(tmp_path):
    for name in ("adam", "sgd", "adamw"):
        model = tower()
        model.compile(build_optimizer(name, 0.1, model, weight_decay=0.1), loss="mse")
        model.fit(np.ones((4, 3)), np.zeros((4, 2)), verbose=0)
        model.save(tmp_path / "model.keras")
        again = tf.keras.models.load_model(tmp_path / "model.keras")
        assert type(again.optimizer) is type(model.optimizer)
        config = again.optimizer.get_config()
        assert config.get("l2", config["weight_decay"]) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [("rmsprop", {}, "'adam', 'adamw'"), ("adam", {"weight_decay": -1}, "0 or more")],
)
def test_unknown_optimizers_and_negative_decay_are_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_optimizer(name, 0.1, tower(), **arguments)


def updates_of(name, head_rate, strategy=None):
    """Returns how far a backbone's and a head's kernel move in two steps."""
    with (strategy or tf.distribute.get_strategy()).scope():
        ones = {"kernel_initializer": "ones", "bias_initializer": "ones"}
        model = tf.keras.Sequential(
            [
                tf.keras.Input([3]),
                tf.keras.layers.Dense(4, name="backbone", **ones),
                tf.keras.layers.Dense(2, name="embedding", **ones),
            ]
        )
        optimizer = build_optimizer(name, 1e-3, model, head_rate=head_rate)
        model.compile(optimizer, loss="mse", jit_compile=False)
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("f4")
    model.fit(x, np.zeros((8, 2), "f4"), batch_size=8, epochs=1, verbose=0)
    return [model.get_layer(n).get_weights()[0] - 1 for n in ("backbone", "embedding")]


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_the_last_layer_learns_faster_by_the_factor(name):
    backbone, head = updates_of(name, 1.0)
    same, faster = updates_of(name, 10.0)
    np.testing.assert_allclose(same, backbone, rtol=1e-3)
    np.testing.assert_allclose(faster, 10 * head, rtol=1e-3)


def test_the_last_layer_learns_faster_on_replicas_too(two_replicas):
    one, two = updates_of("adam", 5.0), updates_of("adam", 5.0, two_replicas)
    for expected, value in zip(one, two, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-3)


@pytest.mark.parametrize("head_rate", [0, -1, np.nan, np.inf])
def test_a_factor_that_is_none_is_refused(head_rate):
    with pytest.raises(ValueError, match="head_rate must be above 0"):
        build_optimizer("adam", 0.1, tower(), head_rate=head_rate)
