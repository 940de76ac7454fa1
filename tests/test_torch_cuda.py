"""Networks on a GPU by torch alone: the same code on host memory here, the GPU itself where there is one."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from fake_tensorrt import HostDevice
from torch import Tensor, nn

from radfast.errors import UsageError
from radfast.kernels.cnn import ORDER, compile, explain_backends
from radfast.kernels.cnn.compiled import RefusedError
from radfast.kernels.cnn.gpu import why_not_torch_cuda
from radfast.kernels.cnn.reference import run_reference
from radfast.kernels.cnn.torch_cuda import compile_torch_cuda
from radfast.vision import Network, build

HEADS = {"document": 5, "vector": 8}
SIZE = 64
LIMITS = {"float32": 1e-5, "bfloat16": 3e-2}  # float16 has no products on every CPU


def make(name: str = "alexnet") -> Network:
    return build(name, HEADS, 0.1, size=SIZE, seed=1).eval()


def draw(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(count, 1, SIZE, SIZE), dtype=np.uint8)


def keep(forward: Any) -> Any:
    return forward


def open_on_host(net: nn.Module, precision: str = "float32", fuse: Any = keep, **device: Any) -> Any:
    return compile_torch_cuda(
        net, (1, SIZE, SIZE), 4, 1, "test", precision, device=HostDevice(**device), fuse=fuse
    )


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 11])
def test_batches_tails_and_precisions(count: int, precision: str) -> None:
    run = open_on_host(make(), precision)
    assert (run.backend, run.precision) == ("torch-cuda", precision)
    images = draw(count, seed=count)
    wanted = run_reference(make(), images)
    for pictures in (images, images.astype(np.float32)):
        found = run(pictures)
        for head, value in wanted.items():
            assert found[head].shape == (count, HEADS[head])
            assert found[head].dtype == np.float32
            if count:
                assert np.abs(found[head] - value).max() <= LIMITS[precision] * np.abs(value).max()
    tensor = run._run_on_device(torch.from_numpy(images))
    for head, value in run(images).items():
        np.testing.assert_array_equal(tensor[head].numpy(), value)


def test_only_full_batches_are_fused_and_they_are_recorded() -> None:
    seen: list[int] = []

    def fuse(forward: Any) -> Any:
        def fused(images: Tensor) -> Any:
            seen.append(len(images))
            return forward(images)

        return fused

    device = HostDevice()
    run = compile_torch_cuda(make(), (1, SIZE, SIZE), 4, 1, "test", "float32", device=device, fuse=fuse)
    assert device.recorded == 2  # one per lane
    seen.clear()
    run(draw(10))
    assert seen == [4, 4]


def test_a_compiler_that_fails_is_done_without(caplog: pytest.LogCaptureFixture) -> None:
    def fuse(forward: Any) -> Any:
        def broken(images: Tensor) -> Any:
            raise RuntimeError("no triton\nand a long story")

        return broken

    with caplog.at_level(logging.WARNING, logger="radfast.cnn"):
        run = open_on_host(make(), fuse=fuse)
    assert "torch.compile failed, its plain kernels are used: no triton" in caplog.text
    assert caplog.text.count("torch.compile failed") == 1
    wanted = run_reference(make(), draw(9))
    for head, value in run(draw(9)).items():
        assert np.abs(value - wanted[head]).max() <= 1e-5 * np.abs(wanted[head]).max()


def test_a_fused_form_that_computes_something_else_is_refused() -> None:
    def fuse(forward: Any) -> Any:
        return lambda images: {head: value + 1 for head, value in forward(images).items()}

    with pytest.raises(RefusedError, match="differs from torch"):
        open_on_host(make(), fuse=fuse)


def test_a_weight_beyond_the_precision_gives_way(caplog: pytest.LogCaptureFixture) -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(SIZE * SIZE, 2), nn.Linear(2, 3)
            with torch.no_grad():  # differences that 8 bits of mantissa lose
                self.first.weight.fill_(1e-3)
                self.first.bias.fill_(1e4)
                self.second.weight.copy_(torch.tensor([[1.0, -1.0], [0.5, -0.5], [1.0, 0.0]]))
                self.second.bias.zero_()

        def forward(self, images: Tensor) -> Tensor:
            rows = self.first(images.flatten(1))
            return (rows * torch.tensor([1.001, 1.0]) @ self.second.weight.T.float())[:, :2]

    with caplog.at_level(logging.WARNING, logger="radfast.cnn"):
        run = open_on_host(Wide(), "bfloat16")
    assert run.precision == "float32"
    assert "torch in bfloat16 was refused, float32 is tried" in caplog.text
    assert "bfloat16 was refused" in run.reason


def test_memory_ends_and_the_batch_is_halved() -> None:
    assert open_on_host(make(), room=3).max_batch == 2
    with pytest.raises(RefusedError, match="no memory for one picture"):
        open_on_host(make(), room=0)


def test_uint16_pictures() -> None:
    class Windowed(nn.Module):
        image_dtypes = ("uint16",)

        def __init__(self) -> None:
            super().__init__()
            self.net = make()

        def forward(self, images: Tensor) -> Any:
            return self.net((images - 1000.0).clamp(0, 4000) / 4000 * 255)

    images = np.random.default_rng(1).integers(65536, size=(6, 1, SIZE, SIZE), dtype=np.uint16)
    wanted = run_reference(Windowed(), images)
    for head, value in open_on_host(Windowed())(images).items():
        assert np.abs(value - wanted[head]).max() <= 1e-5 * np.abs(wanted[head]).max()


def test_a_network_that_fails_is_refused_in_its_words() -> None:
    class Breaking(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            if len(images) > 3:
                raise ValueError("too many pictures")
            return images.flatten(1)[:, :2]

    with pytest.raises(RefusedError, match="too many pictures"):
        open_on_host(Breaking())


def test_order_and_missing_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ORDER["auto"][:2] == ORDER["cuda"] == ("tensorrt", "torch-cuda")
    gpu = "radfast.kernels.cnn.gpu"
    monkeypatch.setattr(f"{gpu}.why_no_driver", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert explain_backends()["torch-cuda"] == why_not_torch_cuda() == "this torch was built without CUDA"
    with pytest.raises(UsageError, match="'torch-cuda' cannot run this network: this torch was built"):
        compile(make(), "torch-cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", ["alexnet", "vgg16"])
def test_the_gpu_agrees_with_float64(name: str, precision: str) -> None:
    if (reason := why_not_torch_cuda()) is not None:
        pytest.skip(reason)
    images = draw(37)
    run = compile(make(name), "torch-cuda", precision, 16)
    assert run.precision == precision
    limit = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}[precision]
    for head, value in run_reference(make(name), images).items():
        assert np.abs(run(images)[head] - value).max() <= limit * np.abs(value).max()
        on_gpu = run(torch.from_numpy(images).cuda())[head]
        assert on_gpu.is_cuda
        np.testing.assert_array_equal(on_gpu.cpu().numpy(), run(images)[head])
