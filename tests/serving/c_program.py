"""The C program that runs signatures without Python, compiled and asked."""

import pathlib
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

_NUMBERS = {types_pb2.DT_FLOAT: "f4", types_pb2.DT_INT8: "i1", types_pb2.DT_BOOL: "?"}


def compiled(folder):
    """Compiles the program against TensorFlow's own libraries; skips without gcc."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile the C loader with")
    libraries = tf.sysconfig.get_lib()
    program = folder / "c_loader"
    source = pathlib.Path(__file__).parent / "c_loader.c"
    found = [f"-l:{path.name}" for path in pathlib.Path(libraries).glob("lib*.so.2")]
    if not any("libtensorflow_cc" in library for library in found):
        pytest.skip(f"no libtensorflow_cc in {libraries} to link with")
    include = f"-I{tf.sysconfig.get_include()}"
    where = [f"-L{libraries}", f"-Wl,-rpath,{libraries}"]
    subprocess.run(
        ["gcc", "-Wall", source, "-o", program, include, *where, *found], check=True
    )
    return program


def signatures_of(saved_model):
    """Returns the signatures by name, as their messages."""
    content = (saved_model / "saved_model.pb").read_bytes()
    graphs = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    signatures = graphs[0].signature_def
    # TensorFlow adds one of its own to every SavedModel.
    return {n: s for n, s in signatures.items() if n != "__saved_model_init_op"}


def finished(program, saved_model, signature, *arguments, library="-"):
    """Runs one signature in a process of its own; returns it, and the outputs."""
    names = signatures_of(saved_model)[signature]
    (given,) = names.inputs.values()
    wanted = ",".join(info.name for info in names.outputs.values())
    return subprocess.run(
        [program, library, saved_model, given.name, wanted, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    ), names.outputs


def outputs_of(program, saved_model, signature, *arguments, library="-"):
    """Returns a signature's outputs by name, as arrays of the same shapes and types."""
    process, infos = finished(
        program, saved_model, signature, *arguments, library=library
    )
    assert process.returncode == 0, process.stderr
    blocks = process.stdout.split("\n\n") if process.stdout.strip() else []
    if not blocks:  # of no rows
        return {name: np.zeros((0,)) for name in infos}
    return {
        name: _array(block, info)
        for (name, info), block in zip(infos.items(), blocks, strict=False)
    }


def _array(block, info):
    rows = [line.split("\t") for line in block.splitlines()]
    if info.dtype == types_pb2.DT_STRING:
        array = np.array(rows, dtype=object)
    else:
        array = np.array(rows, "f4").astype(_NUMBERS[info.dtype])
    return array if len(info.tensor_shape.dim) == 2 else array[:, 0]
