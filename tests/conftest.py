"""Two logical CPUs for the tests of replicas, and where shared data lies."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)


@pytest.fixture(scope="session")
def test_data():
    """The folder of real photographs and weights, or a skip."""
    folder = os.environ.get("MS_KERAS_TEST_DATA")
    if not folder:
        pytest.skip("MS_KERAS_TEST_DATA is not set to a folder of photographs")
    return pathlib.Path(folder)


@pytest.fixture(scope="session")
def golden(test_data):
    """The folder of expected numbers computed elsewhere, or a skip."""
    folder = test_data.parent / "golden"
    if not folder.is_dir():
        pytest.skip(f"no golden numbers at {folder}")
    return folder


@pytest.fixture(scope="session")
def two_replicas():
    """One for all tests: a second strategy would reuse the first one's collectives."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
