"""The converter of torchvision's ResNet-50, against that network restated in torch."""

import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest

from ms_keras.models import build_tower
from ms_keras.models.convert_resnet50 import fill, read_checkpoint
from ms_keras.models.resnet50_torch import resnet50_torch
from ms_keras.models.weights import save_backbone_weights

ROOT = pathlib.Path(__file__).parents[2]
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
# Bottlenecks of each stage.
STAGES = {1: 3, 2: 4, 3: 6, 4: 3}


def torchvision_shapes():
    """Names and shapes in the state dict of torchvision's network, without its top."""
    shapes = {}

    def add(convolution, norm, outputs, inputs, size):
        shapes[f"{convolution}.weight"] = (outputs, inputs, size, size)
        shapes.update({f"{norm}.{part}": (outputs,) for part in BATCH_NORM})

    add("conv1", "bn1", 64, 3, 7)
    inputs = 64
    for stage, count in STAGES.items():
        channels = 32 * 2**stage
        for i in range(count):
            at = f"layer{stage}.{i}"
            add(f"{at}.conv1", f"{at}.bn1", channels, inputs, 1)
            add(f"{at}.conv2", f"{at}.bn2", channels, channels, 3)
            add(f"{at}.conv3", f"{at}.bn3", 4 * channels, channels, 1)
            if i == 0:
                short = f"{at}.downsample"
                add(f"{short}.0", f"{short}.1", 4 * channels, inputs, 1)
            inputs = 4 * channels
    return shapes


def random_tensor(name, shape, rng):
    """Such that every tensor matters: none as in a fresh layer, maps of some units."""
    if len(shape) == 4:
        scale = np.sqrt(2 / np.prod(shape[1:]))
        return (scale * rng.standard_normal(shape)).astype("f4")
    if name.endswith((".running_mean", ".bias")):
        return (0.3 * rng.standard_normal(shape)).astype("f4")
    # Gammas of 1 would double the maps in each bottleneck.
    scale = 0.3 if name.endswith("bn3.weight") else 1
    return (scale * rng.uniform(0.5, 1.5, shape)).astype("f4")


def torchvision_network(torch):
    """The published network in torch, with torchvision's names; gives feature maps."""
    nn = torch.nn

    class Bottleneck(nn.Module):
        def __init__(self, inputs, channels, stride, project):
            super().__init__()
            wide = 4 * channels
            self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)
            self.conv3 = nn.Conv2d(channels, wide, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(wide)
            self.downsample = nn.Identity()
            if project:
                self.downsample = nn.Sequential(
                    nn.Conv2d(inputs, wide, 1, stride, bias=False), nn.BatchNorm2d(wide)
                )

        def forward(self, maps):
            rest = torch.relu(self.bn1(self.conv1(maps)))
            rest = torch.relu(self.bn2(self.conv2(rest)))
            rest = self.bn3(self.conv3(rest))
            return torch.relu(rest + self.downsample(maps))

    class ResNet50(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            self.maxpool = nn.MaxPool2d(3, 2, 1)
            inputs = 64
            for stage, count in STAGES.items():
                channels = 32 * 2**stage
                blocks = []
                for i in range(count):
                    stride = 2 if stage > 1 and i == 0 else 1
                    blocks.append(Bottleneck(inputs, channels, stride, i == 0))
                    inputs = 4 * channels
                setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            self.fc = nn.Linear(2048, 1000)

        def forward(self, images):
            maps = self.maxpool(torch.relu(self.bn1(self.conv1(images))))
            for stage in STAGES:
                maps = getattr(self, f"layer{stage}")(maps)
            return maps

    return ResNet50()


def convert(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "ms_keras.models.convert_resnet50", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def tensors():
    rng = np.random.default_rng(0)
    shapes = torchvision_shapes()
    return {name: random_tensor(name, shape, rng) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def network():
    return resnet50_torch(32)


@pytest.fixture(scope="module")
def peer(tensors):
    """torchvision's network restated in torch, with the random tensors."""
    torch = pytest.importorskip("torch")
    network = torchvision_network(torch)
    state = {name: torch.from_numpy(value) for name, value in tensors.items()}
    loaded = network.load_state_dict(state, strict=False)
    assert not loaded.unexpected_keys
    of_top_or_count = ("fc.weight", "fc.bias", "num_batches_tracked")
    assert all(name.endswith(of_top_or_count) for name in loaded.missing_keys)
    return network.eval()


@pytest.fixture(scope="module")
def converted(peer, tmp_path_factory):
    """The file that the program makes of the whole state dict, top and counts too."""
    import torch

    folder = tmp_path_factory.mktemp("converted")
    source, target = folder / "resnet50.pth", folder / "new" / "r.weights.h5"
    torch.save(peer.state_dict(), source)
    finished = convert(f"--checkpoint={source}", f"--out={target}")
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == str(target)
    assert list(target.parent.iterdir()) == [target]
    return target


@pytest.mark.parametrize("image_size", [97, 224])
def test_a_tower_of_converted_weights_has_the_maps_that_torch_has(
    image_size, peer, converted
):
    import torch

    shape = (2, image_size, image_size, 3)
    images = np.random.default_rng(1).standard_normal(shape).astype("f4")
    with torch.inference_mode():
        maps = peer(torch.from_numpy(images.transpose(0, 3, 1, 2)))
    expected = maps.numpy().transpose(0, 2, 3, 1)
    tower = build_tower("resnet50_torch", 4, image_size, weights=str(converted))
    actual = tower.get_layer("backbone").layer(images)
    assert (expected > 0).mean() > 0.1
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * expected.max())


def test_a_file_names_its_arrays_alike_on_every_keras(network, tensors, tmp_path):
    path = tmp_path / "r.weights.h5"
    fill(network, tensors)
    save_backbone_weights(network, path)
    arrays = {}

    def keep(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(keep)
    keras_parts = ("gamma", "beta", "moving_mean", "moving_variance")
    expected = {}
    for name, value in tensors.items():
        module, _, part = name.rpartition(".")
        part = dict(zip(BATCH_NORM, keras_parts, strict=True))[part]
        if value.ndim == 4:
            part, value = "kernel", np.moveaxis(value, (2, 3, 1, 0), (0, 1, 2, 3))
        expected[f"{module.replace('.', '_')}/{part}"] = value
    assert set(arrays) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(arrays[name], value)


def test_top_and_batch_counts_are_ignored(network, tensors):
    extra = {
        "fc.weight": np.zeros((1000, 2048), "f4"),
        "fc.bias": np.zeros(1000, "f4"),
        "layer1.0.downsample.1.num_batches_tracked": np.array(7),
    }
    fill(network, {**tensors, **extra})
    beta = network.get_layer("layer1_0_downsample_1").get_weights()[1]
    np.testing.assert_array_equal(beta, tensors["layer1.0.downsample.1.bias"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"layer2.0.downsample.1.running_var": None},
            r"ResNet-50's weights\. missing: layer2\.0\.downsample\.1\.running_var; "
            r"unexpected: none",
        ),
        # ResNet-101 goes on where ResNet-50 ends.
        ({"layer3.6.conv1.weight": np.zeros(3)}, r"unexpected: layer3\.6\.conv1"),
        ({"conv1.bias": np.zeros(64)}, r"unexpected: conv1\.bias"),
        # As in Wide ResNet-50.
        (
            {"layer1.0.conv2.weight": np.zeros((128, 128, 3, 3))},
            r"wrongly shaped: layer1\.0\.conv2\.weight \(128, 128, 3, 3\) instead of "
            r"\(64, 64, 3, 3\)",
        ),
        ({"bn1.weight": np.zeros((1, 64))}, r"bn1\.weight \(1, 64\) instead of"),
        # As wrapped by torch's data parallelism.
        ({f"module.{i}": np.zeros(1) for i in range(5)}, r"module\.2 and 2 more"),
    ],
)
def test_what_does_not_fit_is_named(changes, message, network, tensors):
    changed = {**tensors, **changes}
    changed = {name: value for name, value in changed.items() if value is not None}
    before = network.get_layer("conv1").get_weights()
    with pytest.raises(ValueError, match=rf"{message}.*resnet50-0676ba61\.pth"):
        fill(network, changed)
    after = network.get_layer("conv1").get_weights()
    np.testing.assert_array_equal(after[0], before[0])


def test_an_empty_checkpoint_lacks_everything(network):
    with pytest.raises(ValueError, match=r"conv1\.weight, .* and 262 more; unexp"):
        fill(network, {})


def test_another_networks_checkpoint_ends_the_program(tmp_path):
    torch = pytest.importorskip("torch")
    source, target = tmp_path / "other.pth", tmp_path / "out.weights.h5"
    torch.save(torch.nn.Linear(2, 3).state_dict(), source)
    finished = convert(f"--checkpoint={source}", f"--out={target}")
    assert finished.returncode == 2
    assert "missing: conv1.weight, bn1.weight" in finished.stderr
    assert "unexpected: weight, bias" in finished.stderr
    assert not target.exists()


def test_a_missing_file_tells_where_to_download_it(tmp_path):
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"no such file.*https.*0676ba61\.pth"):
        read_checkpoint(str(tmp_path / "none.pth"))
