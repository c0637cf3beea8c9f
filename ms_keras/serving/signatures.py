"""What a signature of a SavedModel takes."""

from __future__ import annotations

import tensorflow as tf


def inputs_of(
    function: tf.types.experimental.ConcreteFunction,
) -> dict[str, tf.TensorSpec]:
    """Returns the inputs by name, of a function just traced or of a loaded one."""
    positional, by_name = function.structured_input_signature
    return {**{spec.name: spec for spec in positional}, **by_name}
