"""Runs a kit on this machine's accelerator, and writes what it measured.

    python3 run.py --out=gpu.json
    python3 run.py --batches=8192,1024 --precisions=tf32 --contenders=hlo,torch-compiled

Stands beside the files that `benchmarks.gpu.kit` wrote and needs NumPy; each contender
needs JAX, PyTorch, pytorch-metric-learning, or TensorFlow with ms_keras, and says so
where that is missing. Every contender and batch has a process of its own. They come in
the order that the options give them, by default what matters most first: the result is
written after each, and may be ended at any time.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import importlib.metadata
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

PRECISIONS = ("fp32", "tf32", "bf16")
_OURS = ("hlo", "tensorflow")
PER_CLASS = 5
_CEILING = 8192  # rows and columns of the matrices that show what a product costs
_COPIED = 1 << 30  # bytes
_BATCHES = (8192, 1024, 65536, 80)  # what matters most; then what else the kit has

# From nothing to a loss and its gradient; waits for neither.
Call = Callable[[], tuple[Any, Any]]


def batch_of(count: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels `[count]` int32 and rows `[count, dim]` float32 of norm 1."""
    random = np.random.default_rng(0)
    labels: np.ndarray = np.arange(count, dtype=np.int32) // PER_CLASS
    centres = 0.7 * random.standard_normal((labels[-1] + 1, dim), np.float32)
    rows = centres[labels] + random.standard_normal((count, dim), np.float32)
    # A common direction, as early in training: half of the negatives are mined.
    rows += 1.5 * random.standard_normal(dim, np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return labels, rows.astype(np.float32)


def hlo(batch: int, dim: int, precision: str, folder: pathlib.Path) -> dict[str, Any]:
    """The exported loss, compiled by JAX's XLA."""
    import jax
    import jax.numpy as jnp

    client = importlib.import_module("jax._src.lib").xla_client
    device = jax.devices()[0]
    module = (folder / f"loss_{batch}_{precision}.hlo").read_bytes()
    stable = client._xla.mlir.hlo_to_stablehlo(module)
    compiled = device.client.compile_and_load(
        stable, client.DeviceList((device,)), client.CompileOptions()
    )
    labels, rows = batch_of(batch, dim)
    kind = jnp.bfloat16 if precision == "bf16" else jnp.float32
    inputs = [jax.device_put(labels), jax.device_put(rows).astype(kind)]

    def call() -> tuple[Any, Any]:
        results = compiled.execute_sharded(inputs)
        loss, gradient = results.disassemble_into_single_device_arrays()
        return loss[0], gradient[0]

    found = _timed(call, jax.block_until_ready)
    stats = device.memory_stats() or {}
    return {**found, "peak_bytes": stats.get("peak_bytes_in_use")}


def tensorflow(
    batch: int, dim: int, precision: str, folder: pathlib.Path
) -> dict[str, Any]:
    """The loss by TensorFlow itself, as a training step calls it."""
    import tensorflow as tf

    losses = importlib.import_module("ms_keras.losses")
    tf.config.experimental.enable_tensor_float_32_execution(precision != "fp32")
    labels, rows = map(tf.constant, batch_of(batch, dim))
    if precision == "bf16":
        rows = tf.cast(rows, tf.bfloat16)

    @tf.function(autograph=False)
    def step() -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(rows)
            loss = tf.reduce_mean(losses.multi_similarity_loss(labels, rows))
        return loss, tape.gradient(loss, rows)

    # Nothing is copied while time runs.
    sync = getattr(getattr(tf.test, "experimental", None), "sync_devices", None)
    found = _timed(step, lambda results: sync() if sync else results[1][0, 0].numpy())
    peak = None
    if tf.config.list_physical_devices("GPU"):
        peak = tf.config.experimental.get_memory_info("GPU:0")["peak"]
    return {**found, "peak_bytes": peak}


def torch_restated(
    batch: int, dim: int, precision: str, folder: pathlib.Path
) -> dict[str, Any]:
    """The loss as one would write it in PyTorch, over the whole matrix."""
    return _torch(batch, dim, precision, restated)


def torch_compiled(
    batch: int, dim: int, precision: str, folder: pathlib.Path
) -> dict[str, Any]:
    """The same under `torch.compile`."""
    import torch

    return _torch(batch, dim, precision, torch.compile(restated))


def pml_all(
    batch: int, dim: int, precision: str, folder: pathlib.Path
) -> dict[str, Any]:
    """pytorch-metric-learning's loss of all pairs: another loss, but no lists."""
    losses = importlib.import_module("pytorch_metric_learning.losses")
    loss = losses.MultiSimilarityLoss(alpha=2, beta=40, base=0.5)
    return _torch(batch, dim, precision, loss)


def pml(batch: int, dim: int, precision: str, folder: pathlib.Path) -> dict[str, Any]:
    """pytorch-metric-learning's loss with its miner."""
    losses = importlib.import_module("pytorch_metric_learning.losses")
    miners = importlib.import_module("pytorch_metric_learning.miners")
    loss = losses.MultiSimilarityLoss(alpha=2, beta=40, base=0.5)
    miner = miners.MultiSimilarityMiner(epsilon=0.1)
    return _torch(
        batch,
        dim,
        precision,
        lambda rows, labels: loss(rows, labels, miner(rows, labels)),
    )


def restated(rows: Any, labels: Any) -> Any:
    """Returns the Multi-Similarity loss, alpha 2, beta 40, lambda 0.5, epsilon 0.1."""
    import torch

    rows = torch.nn.functional.normalize(rows.float()).to(rows.dtype)
    similarities = (rows @ rows.T).float()
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=rows.device)
    positive, negative = same & ~itself, ~same
    infinity = float("inf")
    hardest = similarities.masked_fill(~positive, infinity).amin(1, keepdim=True)
    nearest = similarities.masked_fill(~negative, -infinity).amax(1, keepdim=True)
    positive = positive & (similarities - 0.1 < nearest)
    negative = negative & (similarities + 0.1 > hardest)
    pull = torch.exp(-2 * (similarities - 0.5)).masked_fill(~positive, 0).sum(1)
    push = torch.exp(40 * (similarities - 0.5)).masked_fill(~negative, 0).sum(1)
    return (torch.log1p(pull) / 2 + torch.log1p(push) / 40).mean()


# What matters most first.
WORKS: dict[str, Callable[[int, int, str, pathlib.Path], dict[str, Any]]] = {
    "hlo": hlo,
    "torch-compiled": torch_compiled,
    "pml": pml,
    "tensorflow": tensorflow,
    "torch": torch_restated,
    "pml-all": pml_all,
}


def products_of(contender: str, precision: str) -> str:
    """Returns in what precision a contender multiplies rows of a precision.

    Ours makes bfloat16 rows float32 before it divides them by their norms, whose
    products may then be rounded as float32's may.
    """
    return "tf32" if precision == "bf16" and contender in _OURS else precision


def _torch(batch: int, dim: int, precision: str, loss: Any) -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
    labels, rows = (torch.tensor(part, device=device) for part in batch_of(batch, dim))
    if precision == "bf16":
        rows = rows.to(torch.bfloat16)
    leaf = rows.requires_grad_()

    def call() -> tuple[Any, Any]:
        leaf.grad = None
        value = loss(leaf, labels)
        value.backward()
        return value.detach(), leaf.grad

    def wait(_: Any) -> None:
        if cuda:
            torch.cuda.synchronize()

    found = _timed(call, wait)
    peak = torch.cuda.max_memory_allocated() if cuda else None
    return {**found, "peak_bytes": peak}


def ceilings() -> dict[str, float]:
    """Returns what PyTorch reaches here: FLOP/s by precision, and bytes/s of a copy."""
    import torch

    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    size, copied = (_CEILING, _COPIED) if cuda else (1024, 1 << 26)

    def wait(_: Any) -> None:
        if cuda:
            torch.cuda.synchronize()

    found = {}
    for precision in PRECISIONS:
        torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"
        kind = torch.bfloat16 if precision == "bf16" else torch.float32
        matrix = torch.randn(size, size, device=device, dtype=kind)
        once = _timed(functools.partial(_product, matrix), wait, check=False)
        found[precision] = 2 * size**3 / (once["ms"] / 1000)
    source = torch.zeros(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    once = _timed(lambda: (target.copy_(source), None), wait, check=False)
    found["bytes"] = 2 * copied / (once["ms"] / 1000)
    return found


def _product(matrix: Any) -> tuple[Any, Any]:
    return matrix @ matrix, None


def _timed(call: Call, wait: Callable[[Any], Any], check: bool = True) -> dict:
    """Returns the median milliseconds of a call, and its results."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        results = call()
        wait(results)
        times.append(time.perf_counter() - begin)
    first, goal = times[0], max(10, min(200, int(1 / max(times[-1], 1e-6))))
    times = []
    for _ in range(goal if first < 30 else 3):
        begin = time.perf_counter()
        results = call()
        wait(results)
        times.append(time.perf_counter() - begin)
    found = {"ms": 1000 * statistics.median(times)}
    if check:
        found["loss"], gradient = float(results[0]), results[1]
        if hasattr(gradient, "float"):  # PyTorch's, perhaps bfloat16 and on the GPU
            gradient = gradient.float().cpu()
        found["gradient"] = float(np.linalg.norm(np.asarray(gradient, np.float32)))
    return found


def machine() -> dict[str, Any]:
    """Returns accelerator and versions."""
    versions: dict[str, Any] = {"python": sys.version.split()[0]}
    for name in ("jax", "torch", "pytorch-metric-learning", "tensorflow"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    names = (ask() for ask in (_gpu_by_torch, _gpu_by_jax, _gpu_by_tensorflow))
    return {"gpu": next(filter(None, names), None), "versions": versions}


def _gpu_by_torch() -> str | None:
    try:
        import torch
    except ImportError:
        return None
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _gpu_by_jax() -> str | None:
    try:
        import jax
    except ImportError:
        return None
    device = jax.devices()[0]
    return None if device.platform == "cpu" else device.device_kind


def _gpu_by_tensorflow() -> str | None:
    try:
        import tensorflow as tf
    except ImportError:
        return None
    devices = tf.config.list_physical_devices("GPU")
    if not devices:
        return None
    details = tf.config.experimental.get_device_details(devices[0])
    return details.get("device_name", devices[0].name)


def _one(name: str, batch: int, precision: str, timeout: float) -> dict[str, Any]:
    """Returns what a contender measured in a process of its own."""
    command = [sys.executable, __file__, "--one", name, str(batch), precision]
    # JAX would take three quarters of the memory for itself.
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    try:
        process = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"trouble": f"did not finish in {timeout:g} s"}
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["ended"])[-1]
        return {"trouble": last[:200]}
    return json.loads(process.stdout.splitlines()[-1])


def main() -> int:
    """Measures everything, or one contender."""
    folder = pathlib.Path(__file__).parent
    kit = json.loads((folder / "kit.json").read_text())
    options = _options(kit["batches"])
    if options.one:
        name, batch, precision = options.one
        if name in _ASIDE:
            found = _ASIDE[name]()
        else:
            found = WORKS[name](int(batch), kit["dim"], precision, folder)
        print(json.dumps(found))
        return 0
    result: dict[str, Any] = {"kit": kit, "found": []}
    for name in _ASIDE:
        result[name] = _one(name, 0, "fp32", options.timeout)
        told = result[name].get("trouble")
        if told:
            print(f"{name}: {told}", file=sys.stderr, flush=True)
    for precision in options.precisions:
        for batch in options.batches:
            for name in options.contenders:
                found = _one(name, batch, precision, options.timeout)
                row = {"contender": name, "batch": batch, "precision": precision}
                row["products"] = products_of(name, precision)
                result["found"].append({**row, **found})
                told = found.get("trouble") or f"{found['ms']:.3f} ms"
                print(f"{batch} {precision} {name}: {told}", flush=True)
                # Kept as it comes: a lease may end before the last one.
                pathlib.Path(options.out).write_text(json.dumps(result, indent=1))
    return 0


# Measured once, each in a process of its own, under these names in the result.
_ASIDE: dict[str, Callable[[], dict[str, Any]]] = {
    "machine": machine,
    "ceilings": ceilings,
}


def _options(sizes: list[int]) -> argparse.Namespace:
    """Returns what was asked for; ends the program if there is no such thing."""
    first = [size for size in _BATCHES if size in sizes]
    ordered = first + [size for size in sizes if size not in first]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="gpu.json", help="file for the result")
    parser.add_argument("--batches", default=ordered, type=_list_of(ordered, int))
    parser.add_argument(
        "--contenders", default=list(WORKS), type=_list_of(list(WORKS), str)
    )
    parser.add_argument(
        "--precisions", default=list(PRECISIONS), type=_list_of(list(PRECISIONS), str)
    )
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds of each")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def _list_of(known: list[Any], kind: Callable[[str], Any]) -> Callable[[str], list]:
    """Returns what makes a list of some that are known out of text with commas."""

    def parse(text: str) -> list[Any]:
        names = [str(one) for one in known]
        unknown = [part for part in text.split(",") if part not in names]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"must be among {', '.join(names)}; got {', '.join(unknown)}"
            )
        return [kind(part) for part in text.split(",")]

    return parse


if __name__ == "__main__":
    sys.exit(main())
