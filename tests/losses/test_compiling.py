"""XLA compiles what has many rows, or may have, and leaves few rows alone."""

import numpy as np
import pytest
import tensorflow as tf

from ms_keras.losses import engine
from ms_keras.losses.compiling import compiled_if_many
from ms_keras.losses.multi_similarity import MultiSimilarityLoss

RECIPE = MultiSimilarityLoss().recipe


def is_compiled(rows):
    """Whether a part of the loss's graph is for XLA, when it is traced for rows."""

    @tf.function
    def mean(labels, embeddings):
        return tf.reduce_mean(engine.pair_losses(RECIPE, labels, embeddings))

    graph = mean.get_concrete_function(
        tf.TensorSpec([rows], tf.int64), tf.TensorSpec([rows, 4], tf.float32)
    ).graph
    functions = graph.as_graph_def().library.function
    return any("_XlaMustCompile" in function.attr for function in functions)


@pytest.mark.parametrize(
    ("rows", "expected"), [(1, False), (128, False), (129, True), (None, True)]
)
def test_xla_compiles_many_rows_and_those_whose_number_is_unknown(rows, expected):
    assert is_compiled(rows) == expected


def test_xla_compiles_few_rows_too_where_there_is_an_accelerator(monkeypatch):
    devices = [tf.config.PhysicalDevice(name, name) for name in ("CPU", "GPU")]
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda: devices)
    assert is_compiled(16)


def test_few_anchors_against_many_references_are_compiled():
    calls = []

    @compiled_if_many
    def product(anchors, references):
        calls.append(tf.inside_function())
        return tf.matmul(anchors, references, transpose_b=True)

    @tf.function
    def outer(anchors, references):
        return product(anchors, references)

    few, many = np.ones((3, 2), "f4"), np.ones((500, 2), "f4")
    for anchors, references in ((few, few), (few, many)):
        np.testing.assert_array_equal(
            outer(anchors, references), anchors @ references.T
        )
    definition = outer.get_concrete_function(
        tf.TensorSpec([3, 2]), tf.TensorSpec([500, 2])
    ).graph.as_graph_def()
    assert any("_XlaMustCompile" in f.attr for f in definition.library.function)
