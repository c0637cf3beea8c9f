"""The converter of BN-Inception's PyTorch checkpoint, and the file it writes."""

import json
import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest
import tensorflow as tf

from ms_keras.models import build_tower
from ms_keras.models.bn_inception import bn_inception
from ms_keras.models.convert_bn_inception import fill, read_checkpoint
from ms_keras.models.weights import save_backbone_weights

ROOT = pathlib.Path(__file__).parents[2]
REDUCE = "inception_4c_3x3_reduce"


def torch_tensors(network):
    """Random tensors as in the checkpoint, from a naive restatement of its names."""
    rng = np.random.default_rng(0)
    tensors = {}
    for layer in network.layers:
        kind = type(layer).__name__
        if kind == "Conv2D":
            height, width, inputs, outputs = layer.kernel.shape
            shapes = {"weight": (outputs, inputs, height, width), "bias": (outputs,)}
        elif kind == "BatchNormalization":
            names = ("weight", "bias", "running_mean", "running_var")
            shapes = dict.fromkeys(names, tuple(layer.gamma.shape))
        else:
            continue
        for name, shape in shapes.items():
            values = rng.uniform(0.1, 1, shape).astype("f4")
            tensors[f"{layer.name}.{name}"] = values
    return tensors


@pytest.fixture(scope="module")
def network():
    return bn_inception(32)


@pytest.fixture(scope="module")
def tensors(network):
    return torch_tensors(network)


def written_by(fill_from, tmp_path):
    network = bn_inception(32)
    fill(network, fill_from)
    path = tmp_path / "bn_inception.weights.h5"
    save_backbone_weights(network, path)
    return path


def check_backbone(backbone, tensors):
    """Compares single numbers of some layers at their places in both layouts."""
    for name in ("conv1_7x7_s2", REDUCE, "inception_5b_double_3x3_2"):
        kernel, bias = backbone.get_layer(name).get_weights()
        expected = tensors[f"{name}.weight"]
        assert kernel[0, -1, 2, 5] == expected[5, 2, 0, -1]
        np.testing.assert_array_equal(bias, tensors[f"{name}.bias"])
        norm = backbone.get_layer(f"{name}_bn")
        for weight, part in (
            (norm.gamma, "weight"),
            (norm.beta, "bias"),
            (norm.moving_mean, "running_mean"),
            (norm.moving_variance, "running_var"),
        ):
            np.testing.assert_array_equal(
                tf.convert_to_tensor(weight), tensors[f"{name}_bn.{part}"]
            )


def test_names_and_shapes_are_those_of_the_public_checkpoint(golden, tensors):
    listed = json.loads((golden / "bn_inception_state_dict.json").read_text())
    assert {name: tuple(shape) for name, shape in listed} == {
        name: tensor.shape for name, tensor in tensors.items()
    }


@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
def test_a_converted_file_fills_a_tower_of_any_size(ending, tensors, tmp_path):
    path = written_by(tensors, tmp_path).rename(tmp_path / f"converted{ending}")
    tower = build_tower("bn_inception", 4, 64, weights=str(path))
    check_backbone(tower.get_layer("backbone").layer, tensors)


def test_top_and_batch_counts_are_ignored_and_old_shapes_accepted(tensors):
    network = bn_inception(32)
    old = {
        name: value[None] if "_bn." in name else value
        for name, value in tensors.items()
    }
    extra = {
        "last_linear.weight": np.zeros((1000, 1024), "f4"),
        "last_linear.bias": np.zeros(1000, "f4"),
        "conv1_7x7_s2_bn.num_batches_tracked": np.array(0),
    }
    fill(network, {**old, **extra})
    check_backbone(network, tensors)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({f"{REDUCE}.bias": None}, rf"missing: {REDUCE}\.bias; unexpected: none"),
        ({"conv9.bias": np.zeros(3)}, r"unexpected: conv9\.bias"),
        (
            {f"{REDUCE}.weight": np.zeros((128, 576, 3, 1))},
            rf"wrongly shaped: {REDUCE}\.weight \(128, 576, 3, 1\) instead of "
            r"\(128, 576, 1, 1\)",
        ),
        # Of a convolution, a leading 1 is no old form.
        ({f"{REDUCE}.bias": np.zeros((1, 128))}, r"bias \(1, 128\) instead of"),
        ({f"{REDUCE}_bn.bias": np.zeros((2, 128))}, r"bias \(2, 128\) instead of"),
        ({f"x{i}": np.zeros(1) for i in range(5)}, r"x0, x1, x2 and 2 more"),
    ],
)
def test_what_does_not_fit_is_named(changes, message, network, tensors):
    changed = {**tensors, **changes}
    changed = {name: value for name, value in changed.items() if value is not None}
    before = network.get_layer("conv1_7x7_s2").get_weights()
    with pytest.raises(ValueError, match=message):
        fill(network, changed)
    after = network.get_layer("conv1_7x7_s2").get_weights()
    np.testing.assert_array_equal(after[0], before[0])


def test_another_backbone_refuses_the_file(tensors, tmp_path):
    path = written_by(tensors, tmp_path)
    with pytest.raises(ValueError, match=r"backbone 'small_conv'.*'bn_inception'"):
        build_tower("small_conv", 4, 32, weights=path)


def test_a_damaged_file_is_refused_by_name(tensors, tmp_path):
    path = written_by(tensors, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"bn_inception\.weights\.h5"):
        build_tower("bn_inception", 4, 32, weights=path)
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:
        del file[REDUCE]
    with pytest.raises(ValueError, match=rf"it lacks {REDUCE}/kernel, {REDUCE}/bias"):
        build_tower("bn_inception", 4, 32, weights=path)


def test_a_failed_write_leaves_the_earlier_file(network, tmp_path, monkeypatch):
    path = tmp_path / "bn_inception.weights.h5"
    path.write_text("earlier")

    def full(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr(h5py.Group, "__setitem__", full)
    with pytest.raises(OSError, match="no space"):
        save_backbone_weights(network, path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "earlier"


def test_without_torch_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match="pip install torch"):
        read_checkpoint(str(tmp_path / "any.pth"))


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def convert(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "ms_keras.models.convert_bn_inception", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("zipped", [True, False])  # the public file is not
def test_a_checkpoint_is_read_as_it_was_saved(zipped, torch, tensors, tmp_path):
    path = tmp_path / "any.pth"
    state = {name: torch.from_numpy(value) for name, value in tensors.items()}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    read = read_checkpoint(str(path))
    assert set(read) == set(tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(read[name], value)


def test_the_program_converts(torch, tensors, tmp_path):
    source, target = tmp_path / "bn_inception.pth", tmp_path / "new" / "b.weights.h5"
    state = {name: torch.from_numpy(value) for name, value in tensors.items()}
    state["last_linear.bias"] = torch.zeros(1000)
    torch.save(state, source)
    finished = convert(f"--checkpoint={source}", f"--out={target}")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == str(target)
    assert list(target.parent.iterdir()) == [target]
    tower = build_tower("bn_inception", 4, 32, weights=target)
    check_backbone(tower.get_layer("backbone").layer, tensors)


def test_a_file_that_is_no_state_dict_is_refused(torch, tmp_path):
    path = tmp_path / "list.pth"
    torch.save([torch.zeros(2)], path)
    with pytest.raises(ValueError, match=r"list\.pth must hold a state dict.*got list"):
        read_checkpoint(str(path))
    torch.save({"state_dict": {"a": torch.zeros(2)}}, path)
    with pytest.raises(ValueError, match="tensors by name; got dict"):
        read_checkpoint(str(path))
    path.write_bytes(b"half a download")
    with pytest.raises(ValueError, match=r"list\.pth cannot be read"):
        read_checkpoint(str(path))
    with pytest.raises(ValueError, match=r"no such file.*lip6"):
        read_checkpoint(str(tmp_path / "none.pth"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--checkpoint is missing"),
        (["--checkpoint=a.pth", "--out=b.pth"], "--out must end in .h5"),
    ],
)
def test_bad_flags_end_the_program(arguments, message):
    finished = convert(*arguments)
    assert finished.returncode == 2
    assert message in finished.stderr
