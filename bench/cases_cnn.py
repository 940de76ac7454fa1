"""Networks compiled for throughput."""

from __future__ import annotations

from typing import Any

import numpy as np

import radfast as rf
from bench.case import Case


def _make_network(images: int, side: int) -> dict[str, Any]:
    net = rf.vision.build("vgg16", {"document": 60}, size=side).eval()
    pixels = np.random.default_rng(5).integers(256, size=(images, 1, side, side), dtype=np.uint8)
    return {"net": net, "run": rf.compile(net, max_batch=images), "pixels": pixels}


def _run_network(state: dict[str, Any]) -> Any:
    return state["run"](state["pixels"])


def _run_eager(state: dict[str, Any]) -> Any:
    import torch

    with torch.no_grad():
        return state["net"](torch.from_numpy(state["pixels"]))


def _check_network(state: dict[str, Any], outputs: Any) -> None:
    wanted = _run_eager(state)["document"].numpy()
    assert np.allclose(outputs["document"], wanted, atol=1e-3 * np.abs(wanted).max())


CASES = (
    Case(
        name="cnn-vgg16",
        sizes={"images": 8, "side": 224},
        unit="images",
        set_up=_make_network,
        work=_run_network,
        count=lambda state: len(state["pixels"]),
        check=_check_network,
        peers={"torch": _run_eager},
    ),
)
