"""Networks on the GPU for `make gpu-check`: images/s on the device and from host to host, beside torch.

The roofline goes layer by layer: a layer needs at least its products at the rate of a large matrix product,
and at least its pictures in and out and its weights at the rate of a large copy, both of the same run.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import radfast as rf
from bench.trtexec import measure_trtexec
from radfast.kernels.cnn import explain_backends
from radfast.kernels.cnn.export import export_onnx
from radfast.kernels.cnn.onnx import Calibration, change_precision

_SIDE, _ROUNDS = 224, 9
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1, "fp8": 1}
_PRECISIONS = {"tensorrt": ("float16", "bfloat16", "int8", "fp8"), "torch-cuda": ("float16", "bfloat16")}


def list_products(net: nn.Module) -> list[tuple[int, int, int]]:
    """Return (operations, values in and out, weights) of one picture for each layer with products."""
    found: list[tuple[int, int, int]] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        weights = layer.weight
        assert isinstance(weights, Tensor)
        per_value = weights.numel() // weights.shape[0]
        found.append((2 * result.numel() * per_value, given[0].numel() + result.numel(), weights.numel()))

    hooks = [
        module.register_forward_hook(note)
        for module in net.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        net(torch.zeros(1, 1, _SIDE, _SIDE))
    for hook in hooks:
        hook.remove()
    return found


def bound_rate(layers: list[tuple[int, int, int]], batch: int, size: int, machine: dict[str, float]) -> float:
    """Return the most images/s of a batch whose values take `size` bytes."""
    peak = machine["matmul_float32_TFLOP_s" if size == 4 else "matmul_float16_TFLOP_s"] * 1e12
    if size == 1:
        peak *= 2  # the tensor cores multiply bytes at twice the rate of halves
    seconds = sum(
        max(batch * operations / peak, size * (batch * values + weights) / machine["copy_GB_s"] / 1e9)
        for operations, values, weights in layers
    )
    return batch / seconds


def _time(work: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def _make_peers(net: nn.Module, pictures: Tensor, batch: int) -> dict[str, Callable[[], object]]:
    lowered = net.half().cuda().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    forwards: dict[str, Any] = {
        "torch_eager_float16": lowered,
        "torch_compile_float16": torch.compile(lowered, mode="max-autotune", dynamic=False),
    }
    if importlib.util.find_spec("torch_tensorrt"):
        importlib.import_module("torch_tensorrt")  # makes its backend known
        typed: dict[str, Any] = {"use_explicit_typing": True}  # the halves of the module, as they stand
        forwards["torch_tensorrt_float16"] = torch.compile(
            lowered, backend="torch_tensorrt", dynamic=False, options=typed
        )

    def run(forward: Any) -> Callable[[], object]:
        def work() -> None:
            with torch.no_grad():
                for start in range(0, len(pictures), batch):
                    forward(pictures[start : start + batch].half())

        return work

    return {name: run(forward) for name, forward in forwards.items()}


def measure_network(name: str, batch: int, machine: dict[str, float]) -> list[dict[str, Any]]:
    """Time a network on every backend of the GPU and in every precision."""
    net = rf.vision.build(name, {"document": 60}, size=_SIDE).eval()
    layers = list_products(net)
    host = np.random.default_rng(4).integers(256, size=(4 * batch, 1, _SIDE, _SIDE), dtype=np.uint8)
    device = torch.from_numpy(host).cuda()
    peers = _make_peers(rf.vision.build(name, {"document": 60}, size=_SIDE).eval(), device, batch)
    found: list[dict[str, Any]] = []
    for backend, precisions in _PRECISIONS.items():
        if (reason := explain_backends()[backend]) is not None:
            found.append({"network": name, "backend": backend, "missing": reason})
            continue
        for precision in precisions:
            calibration = host[:128] if precision in ("int8", "fp8") else None
            run = rf.compile(net, backend, precision, max_batch=batch, calibration=calibration)
            found.append(_measure(run, name, precision, layers, host, device, peers, machine))
            if backend == "tensorrt":
                pictures = Calibration(calibration, "percentile", digest="")
                model = change_precision(export_onnx(net), run.precision, pictures, threads=0)
                found[-1] |= measure_trtexec(model, (batch, 1, _SIDE, _SIDE))
            print(found[-1], flush=True)
    return found


def _measure(
    run: Any,
    name: str,
    asked: str,
    layers: list[tuple[int, int, int]],
    host: Any,
    device: Tensor,
    peers: dict[str, Callable[[], object]],
    machine: dict[str, float],
) -> dict[str, Any]:
    works = {"device": lambda: run(device), "host": lambda: run(host), **peers}
    seconds: dict[str, list[float]] = {key: [] for key in works}
    for turn in range(_ROUNDS + 2):
        for key, work in works.items():
            taken = _time(work)
            if turn >= 2:  # the first two compile, choose kernels and fill caches
                seconds[key].append(taken)
    rates = {f"{key}_images_per_s": len(host) / float(np.median(times)) for key, times in seconds.items()}
    ours = np.array(seconds["device"])
    ratios = {f"{key}_over_ours": float(np.median(np.array(seconds[key]) / ours)) for key in peers}
    roofline = bound_rate(layers, run.max_batch, _BYTES[run.precision], machine)
    return {
        "network": name,
        "backend": run.backend,
        "asked": asked,
        "precision": run.precision,
        "batch": run.max_batch,
        "gate": run.gate.to_dict(),
        **rates,
        **ratios,
        "host_over_device": float(np.median(np.array(seconds["host"]) / ours)),
        "roofline_images_per_s": roofline,
        "share_of_roofline": rates["device_images_per_s"] / roofline,
    }
