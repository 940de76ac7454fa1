"""Networks compiled for throughput, against the CPU runtimes that users would pick instead, on 2 threads."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import radfast as rf
from bench.case import Case
from radfast.kernels.cnn import export_onnx
from radfast.kernels.cnn.gate import TOLERANCES

_THREADS = 2


def _make_network(name: str, images: int, side: int) -> dict[str, Any]:
    net = rf.vision.build(name, {"document": 60}, size=side).eval()
    pixels = np.random.default_rng(5).integers(256, size=(images, 1, side, side), dtype=np.uint8)
    run = rf.compile(net, "native", max_batch=images, threads=_THREADS)
    work = images * _count_products(net, side)
    return {"net": net, "run": run, "pixels": pixels, "floats": pixels.astype(np.float32), "products": work}


def _make_int8(name: str, images: int, side: int) -> dict[str, Any]:
    """Return the network in ONNX Runtime's int8, with the file that it reads."""
    state = _make_network(name, images, side)
    pixels = state["pixels"]
    with tempfile.TemporaryDirectory() as folder:
        run = rf.compile(
            state["net"], "onnx", "int8", images, folder,
            threads=_THREADS, calibration=pixels, calibration_method="max",
        )  # fmt: skip
        assert run.precision == "int8", run.reason
        (file,) = Path(folder).glob("*.onnx")
        return state | {"run": run, "native": state["run"], "model": file.read_bytes()}


def _count_products(net: Any, side: int) -> int:
    """Return the multiply-adds of one picture by the plain formula of each layer."""
    import torch

    products = 0

    def count(layer: Any, _inputs: Any, output: Any) -> None:
        nonlocal products
        products += layer.weight[0].numel() * output.numel()

    layers = [layer for layer in net.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        net(torch.zeros(1, 1, side, side))
    for hook in hooks:
        hook.remove()
    return products


def _run_network(state: dict[str, Any]) -> Any:
    return state["run"](state["pixels"])


def _run_eager(state: dict[str, Any]) -> Any:
    import torch

    torch.set_num_threads(_THREADS)
    with torch.no_grad():
        return state["net"](torch.from_numpy(state["floats"]))


def _run_compiled(state: dict[str, Any]) -> Any:
    import torch

    torch.set_num_threads(_THREADS)
    if "compiled" not in state:
        state["compiled"] = torch.compile(state["net"])
    with torch.no_grad():
        return state["compiled"](torch.from_numpy(state["floats"]))


def _run_onnx(state: dict[str, Any]) -> Any:
    import onnxruntime

    if "onnx" not in state:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _THREADS
        providers = ["CPUExecutionProvider"]
        state["onnx"] = onnxruntime.InferenceSession(export_onnx(state["net"]), options, providers=providers)
    return state["onnx"].run(None, {"images": state["floats"]})


def _run_openvino(state: dict[str, Any]) -> Any:
    openvino = importlib.import_module("openvino")
    if "openvino" not in state:
        core = openvino.Core()
        # Left to itself it computes in bfloat16 where the processor has it.
        settings = {"INFERENCE_NUM_THREADS": _THREADS, "INFERENCE_PRECISION_HINT": "f32"}
        state["openvino"] = core.compile_model(
            core.read_model(state.get("model") or export_onnx(state["net"]), b""),
            "CPU",
            {**settings, "PERFORMANCE_HINT": "LATENCY"},
        )
    return state["openvino"]({"images": state["floats"]})["document"]


def _run_native(state: dict[str, Any]) -> Any:
    return state["native"](state["pixels"])


def _run_mnn(state: dict[str, Any]) -> Any:
    expr, networks = (importlib.import_module(name) for name in ("MNN.expr", "MNN.nn"))
    if "mnn" not in state:
        with _convert_for_mnn(state["net"]) as path:
            settings = {"backend": 0, "numThread": _THREADS, "precision": "high"}
            manager = networks.create_runtime_manager((settings,))
            state["mnn"] = networks.load_module_from_file(
                str(path), ["images"], ["document"], runtime_manager=manager
            )
    pictures = expr.const(state["floats"], list(state["floats"].shape), expr.data_format.NCHW)
    return np.array(state["mnn"].forward([pictures])[0].read())


@contextmanager
def _convert_for_mnn(net: Any) -> Iterator[Path]:
    """Write the network as MNN's converter reads it from our ONNX."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "net.onnx", Path(folder) / "net.mnn"
        source.write_bytes(export_onnx(net))
        order = ["-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(target), "--bizCode", "bench"]
        # The command of that name installs packages and sends what it converts elsewhere; its core does not.
        convert = "import sys, _tools; _tools.mnnconvert(['mnnconvert', *sys.argv[1:]])"
        subprocess.run([sys.executable, "-c", convert, *order], check=True, capture_output=True)
        yield target


def _check_network(state: dict[str, Any], outputs: Any) -> None:
    wanted = _run_eager(state)["document"].numpy()
    assert np.allclose(outputs["document"], wanted, atol=2e-5 * np.abs(wanted).max())


def _check_int8(state: dict[str, Any], outputs: Any) -> None:
    wanted = _run_eager(state)["document"].numpy()
    assert np.abs(outputs["document"] - wanted).max() <= TOLERANCES["int8"] * np.abs(wanted).max()


def _make_case(name: str, images: int) -> Case:
    set_up: Callable[..., Any] = partial(_make_network, name)
    return Case(
        name=f"cnn-{name}-{images}",
        sizes={"images": images, "side": 224},
        unit="images",
        set_up=set_up,
        work=_run_network,
        count=lambda state: len(state["pixels"]),
        check=_check_network,
        peers={
            "torch": _run_eager,
            "torch-compile": _run_compiled,
            "onnxruntime": _run_onnx,
            "openvino": _run_openvino,
            "mnn": _run_mnn,
        },
        products=lambda state: state["products"],
        threads=_THREADS,
    )


def _make_int8_case(name: str, images: int) -> Case:
    return Case(
        name=f"cnn-{name}-{images}-int8",
        sizes={"images": images, "side": 224},
        unit="images",
        set_up=partial(_make_int8, name),
        work=_run_network,
        count=lambda state: len(state["pixels"]),
        check=_check_int8,
        # OpenVINO reads the very file that ONNX Runtime does: the Q/DQ pairs make it compute in int8.
        peers={"openvino": _run_openvino, "native-float32": _run_native},
        threads=_THREADS,
    )


CASES = (
    *(_make_case(name, images) for name in ("vgg16", "vgg19", "alexnet") for images in (1, 8, 32)),
    *(_make_int8_case(name, 8) for name in ("vgg16", "alexnet")),
)
