"""The network on a GPU through torch alone, where TensorRT is missing or refuses: torch.compile's fused
kernels for a full batch, recorded as a CUDA graph, and torch's own for the tail.

Convolutions and linear layers keep their weights in the precision of the products, channels-last; all else
stays float32 (autocast). float32 means float32: TF32 is switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from radfast.kernels.cnn.compiled import PLAIN_DTYPES, CompiledNetwork, RefusedError, log
from radfast.kernels.cnn.gate import Gate
from radfast.kernels.cnn.gpu import CudaDevice, Device, Stream, why_not_torch_cuda
from radfast.kernels.cnn.lanes import Pipeline, open_largest
from radfast.kernels.cnn.pipelined import PipelinedNetwork, check_pipeline, give_way
from radfast.kernels.cnn.reference import Probe, freeze, measure_heads, name_outputs

_Forward = Callable[[Tensor], dict[str, Tensor]]


def fuse(forward: _Forward) -> _Forward:
    """Return `forward` through torch.compile, which makes its kernels at the first call."""
    # Its default mode: no CUDA graphs, a lane records one over its own buffers; no search among kernels,
    # which takes minutes and prints much. Convolutions stay cuDNN's, what is between them is fused.
    fused: _Forward = torch.compile(forward, dynamic=False)
    return fused


def compile_torch_cuda(
    net: nn.Module,
    image_shape: tuple[int, int, int],
    max_batch: int,
    threads: int,
    reason: str,
    precision: str = "float16",
    images: npt.NDArray[Any] | None = None,
    device: Device | None = None,
    fuse: Callable[[_Forward], _Forward] = fuse,
) -> CompiledNetwork:
    """Run `net` on the GPU by torch.

    Parameters
    ----------
    images : uint8 or float32 (M, C, H, W), optional
        Pictures that the outputs are compared on, noise by default.
    device : Device, optional
        The present GPU by default.
    fuse : callable
        Makes the faster form of the network.

    Raises
    ------
    RefusedError
        If there is no GPU for torch, or no precision gives what torch gives on the CPU.
    """
    if device is None:
        if (missing := why_not_torch_cuda()) is not None:
            raise RefusedError(missing)
        device = CudaDevice()
    maker = _Maker(freeze(net), image_shape, max_batch, threads, images, device, fuse)
    return give_way(
        lambda tried, why: PipelinedNetwork("torch-cuda", maker, tried, why), "torch", precision, reason
    )


class _Maker:
    """Makes and checks the pipelines of one network."""

    def __init__(
        self,
        net: nn.Module,
        image_shape: tuple[int, int, int],
        max_batch: int,
        threads: int,
        images: npt.NDArray[Any] | None,
        device: Device,
        fuse: Callable[[_Forward], _Forward],
    ) -> None:
        self.heads = measure_heads(net, image_shape)
        self.image_shape = image_shape
        self.image_dtypes: tuple[str, ...] = getattr(net, "image_dtypes", PLAIN_DTYPES)
        self._probe = Probe(net, image_shape, images, threads)
        self._net, self._max_batch, self._device, self._fuse = net, max_batch, device, fuse

    def make(self, dtype: str, precision: str) -> tuple[Pipeline, Gate]:
        """Return a pipeline for pictures of `dtype`, and how far it is from torch in float32."""
        program = _Program(
            _Lowered(freeze(self._net), precision, self._device.kind), self._device, self._fuse
        )
        pipeline = open_largest(
            lambda batch: Pipeline(program, self._device, batch, self.image_shape, self.heads, dtype),
            self._max_batch,
        )
        return pipeline, check_pipeline(pipeline, self._probe, dtype, precision)


class _Lowered(nn.Module):
    """`net` with its products in `precision`; takes pictures as a lane holds them."""

    def __init__(self, net: nn.Module, precision: str, kind: str) -> None:
        super().__init__()
        self._dtype: torch.dtype = getattr(torch, precision)
        self._kind = kind
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.to(self._dtype)
        self._net = net.to(kind).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return (N, classes) float32 per head of images (N, C, H, W), or (N, C, H, W, 2) as bytes."""
        if images.ndim == 5:
            images = images[..., 0] + 256.0 * images[..., 1]
        with torch.autocast(self._kind, self._dtype, enabled=self._dtype is not torch.float32):
            outputs = name_outputs(self._net(images.float()))
        return {head: value.float() for head, value in outputs.items()}


class _Program:
    """A program of `radfast.kernels.cnn.lanes`."""

    def __init__(self, net: nn.Module, device: Device, fuse: Callable[[_Forward], _Forward]) -> None:
        self._plain: _Forward = net
        self._full = fuse(net)
        self._device = device

    def bind(self, images: Tensor, outputs: Mapping[str, Tensor], stream: Stream) -> Callable[[int], None]:
        """Return what computes the first n pictures of the buffer `images` into `outputs` on `stream`."""

        def compute(size: int) -> None:
            full = size == len(images)
            exact = torch.backends.cudnn.flags(enabled=True, benchmark=full, allow_tf32=False)
            with torch.no_grad(), exact, self._device.on(stream):
                found = (self._run_full if full else self._plain)(images[:size])
                for head, value in found.items():
                    outputs[head][:size].copy_(value)

        return compute

    def _run_full(self, images: Tensor) -> dict[str, Tensor]:
        try:
            return self._full(images)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # its compilers share no narrower base
            if self._full is self._plain:
                raise RefusedError(f"torch does not run it: {str(error).splitlines()[0]}") from error
            log.warning("torch.compile failed, its plain kernels are used: %s", str(error).splitlines()[0])
            self._full = self._plain
            return self._plain(images)
