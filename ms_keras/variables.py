"""TensorFlow's variables, whichever Keras made them."""

from __future__ import annotations

import tensorflow as tf


def plain_variable(variable: tf.Variable) -> tf.Variable:
    """Returns the TensorFlow variable inside one of Keras 3."""
    return variable if callable(variable.value) else variable.value
