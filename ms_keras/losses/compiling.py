"""XLA for what losses compute number by number."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Up to here a processor needs less time for single ops than for calling what XLA makes
# of them: 0.06 ms for the call, and loops too short for its vector code.
_FEW_ROWS = 128


def compiled(function: Callable) -> Callable:
    """Returns a function of tensors, compiled by XLA for each shape it meets."""
    return _graph_of(function, jit_compile=True)


def compiled_if_many(function: Callable) -> Callable:
    """Returns a function of tensors that XLA compiles unless they have few rows.

    Few rows, known to be few before the function runs, stay a graph of single ops on
    processors; on accelerators each of those would be a launch. The two round
    differently: not for what depends on the last bit.
    """
    by_xla, by_op = compiled(function), _graph_of(function)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        if not (are_few(arguments) and _has_processors_only()):
            return by_xla(*arguments)
        # A graph within a graph would be called as one, which costs as much as XLA.
        return (function if tf.inside_function() else by_op)(*arguments)

    return call


def _graph_of(function: Callable, jit_compile: bool | None = None) -> Callable:
    # A partial of its own: TensorFlow would count the tracings of a method over all its
    # objects, and warn of many when several losses are in use.
    function = functools.partial(function)
    return tf.function(function, jit_compile=jit_compile, autograph=False)


def are_few(arguments: tuple) -> bool:
    """Tells whether no tensor has more rows than are left to single ops."""
    tensors = [tensor for tensor in tf.nest.flatten(arguments) if tensor is not None]
    return all(
        shape.rank is not None
        and all(n is not None and n <= _FEW_ROWS for n in shape[:1])
        for shape in (tensor.shape for tensor in tensors)
    )


def _has_processors_only() -> bool:
    return {device.device_type for device in tf.config.get_visible_devices()} == {"CPU"}
