"""A program ends although a data set still calls Python."""

import subprocess
import sys

import pytest

PROGRAM = """
import time
import tensorflow as tf
from ms_keras.data.python_calls import called_from_threads

@called_from_threads
def slow(i):
    time.sleep(0.05)
    return i

numbers = tf.data.Dataset.range(10**9).map(
    lambda i: tf.numpy_function(slow, [i], tf.int64), num_parallel_calls=16
)
iterator = iter(numbers.prefetch(8))
next(iterator)
print("the end")
{ending}
"""


@pytest.mark.parametrize(
    ("ending", "status"), [("", 0), ("raise SystemExit(3)", 3), ("1 / 0", 1)]
)
def test_a_program_ends_with_its_own_status_while_its_data_set_is_at_work(
    ending, status
):
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(ending=ending)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.stdout == "the end\n"
    assert ended.returncode == status, ended.stderr
