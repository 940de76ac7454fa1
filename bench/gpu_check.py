"""Check and measure the CUDA kernels on the GPU of this machine: `make gpu-check`.

Runs the tests marked ``gpu``, then times the kernels with CUDA events, and the networks
(bench/gpu_networks.py), and puts them beside what the GPU gives in the same run: a large copy (GB/s) and a
large matrix product (TFLOP/s). Writes bench/results/gpu.json. Without a GPU it says why and ends with 1.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import radfast as rf
from bench.gpu_networks import measure_network
from radfast.device import why_not
from radfast.kernels import gibbs, on_gpu

_ROOT = Path(__file__).parents[1]
_WORDS_BYTES, _DOCUMENTS_BYTES = 16, 68  # per token and sweep, csrc/gibbs.cu
_ROUNDS = 9


def time_on_gpu(work: Callable[[], object], rounds: int = _ROUNDS) -> float:
    """Return the median milliseconds of `work` between two CUDA events, after two calls that do not count."""
    cp = on_gpu.cupy()
    for _ in range(2):
        work()
    times = []
    for _ in range(rounds):
        begin, end = cp.cuda.Event(), cp.cuda.Event()
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(cp.cuda.get_elapsed_time(begin, end))
    return float(np.median(times))


def measure_machine() -> dict[str, float]:
    """Return what bounds the kernels: bytes moved by a copy, operations of a matrix product, per second."""
    cp = on_gpu.cupy()
    source = cp.random.default_rng(0).random(1 << 28, dtype=np.float32)
    target = cp.empty_like(source)
    found = {"copy_GB_s": 2 * source.nbytes / time_on_gpu(lambda: cp.copyto(target, source)) / 1e6}
    side = 8192
    left = source[: side * side].reshape(side, side) - 0.5
    for name, matrix in (("float16", left.astype(np.float16)), ("float32", left)):
        milliseconds = time_on_gpu(lambda matrix=matrix: cp.matmul(matrix, matrix))  # type: ignore[misc]
        found[f"matmul_{name}_TFLOP_s"] = 2 * side**3 / milliseconds / 1e9
    if torch.cuda.is_available():
        torch.backends.cuda.matmul.allow_tf32 = True
        same = torch.from_dlpack(left)  # type: ignore[attr-defined]
        for name, tensor in (("tf32", same), ("bfloat16", same.bfloat16())):
            milliseconds = time_on_gpu(lambda tensor=tensor: tensor @ tensor)  # type: ignore[misc]
            found[f"matmul_{name}_TFLOP_s"] = 2 * side**3 / milliseconds / 1e9
    return found


def measure_gibbs(n_topics: int, n_tokens: int, machine: dict[str, float]) -> dict[str, Any]:
    """Time sweeps of `mh` on a corpus of 130 tokens a document and 29,000 words by Zipf's law."""
    rng = np.random.default_rng(1)
    per_document, words = 130, 29_000
    indptr = np.arange(n_tokens // per_document + 1) * per_document
    weights = 1.0 / np.arange(1, words + 1)
    rows = np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(int(indptr[-1]))).astype(np.int32)
    chain = gibbs.start(indptr, rows.clip(0, words - 1), n_topics, n_rows=words, alpha=0.1, eta=0.01)
    gibbs.sample(chain, 1, method="mh", backend="cuda")
    sampler, tokens = chain.on_gpu, len(rows)
    sampler.begin(chain)
    found: dict[str, Any] = {"tokens": tokens, "topics": n_topics}
    total = 0.0
    for kind, (name, of_token) in enumerate((("words", _WORDS_BYTES), ("documents", _DOCUMENTS_BYTES))):
        milliseconds = time_on_gpu(lambda kind=kind: sampler.run_pass(chain, kind, 5))  # type: ignore[misc]
        total += milliseconds
        moved = of_token * tokens / milliseconds / 1e6
        found[name] = {"ms": milliseconds, "GB_s": moved, "share_of_copy": moved / machine["copy_GB_s"]}
    found["tokens_per_s"] = 1e3 * tokens / total
    roofline = machine["copy_GB_s"] * 1e9 / (_WORDS_BYTES + _DOCUMENTS_BYTES)
    found["share_of_roofline"] = found["tokens_per_s"] / roofline
    return found


def measure_dense(
    queries: int, keys: int, features: int, k: int, machine: dict[str, float]
) -> dict[str, Any]:
    """Time the dense search and the peer, a matrix product and a selection by torch, in turns."""
    cp = on_gpu.cupy()
    rng = cp.random.default_rng(2)
    q = rng.standard_normal((queries, features), dtype=np.float32)
    n = rng.standard_normal((keys, features), dtype=np.float32)
    ours = time_on_gpu(lambda: rf.cosine_topk(q, n, k))
    rate = 2 * queries * keys * features / ours / 1e9
    found = {"queries": queries, "keys": keys, "features": features, "k": k, "ms": ours, "TFLOP_s": rate}
    shares = {f"share_of_{name[:-8]}": rate / peak for name, peak in machine.items() if "matmul" in name}
    return {**found, **shares, **compare_torch(q, n, k)}


def compare_torch(q: Any, n: Any, k: int) -> dict[str, Any]:
    """Return torch's times over ours, for products in TF32 and in bfloat16: median of pair ratios."""
    if not torch.cuda.is_available():
        return {"torch": "this torch has no CUDA"}
    a, b = (torch.nn.functional.normalize(torch.from_dlpack(x), dim=1) for x in (q, n))  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32 = True
    found: dict[str, Any] = {}
    for name, dtype in (("tf32", torch.float32), ("bfloat16", torch.bfloat16)):
        x, y = a.to(dtype), b.to(dtype)

        def peer(x: Any = x, y: Any = y) -> None:
            for first in range(0, len(x), 8192):  # the scores of all queries do not fit
                torch.topk(x[first : first + 8192] @ y.T, k)

        def ours() -> None:
            rf.cosine_topk(a, b, k)

        pairs = []
        with torch.cuda.device(a.device):
            for _ in range(_ROUNDS):
                times = []
                for work in (ours, peer):
                    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
                    begin.record()
                    work()
                    end.record()
                    end.synchronize()
                    times.append(begin.elapsed_time(end))
                pairs.append(times[1] / times[0])
        found[f"torch_{name}_over_ours"] = float(np.median(pairs))
    return found


def measure_candidates(queries: int, keys: int, features: int, k: int) -> dict[str, Any]:
    """Time queries in 80 groups, each against 150 keys."""
    cp = on_gpu.cupy()
    rng = np.random.default_rng(3)
    q, n = (cp.asarray(rng.standard_normal((rows, features), dtype=np.float32)) for rows in (queries, keys))
    lists = np.stack([np.sort(rng.choice(keys, 150, replace=False)) for _ in range(80)])
    candidates = (np.arange(81) * 150, lists.ravel(), rng.integers(0, 80, queries).astype(np.int32))
    milliseconds = time_on_gpu(lambda: rf.cosine_topk(q, n, k, candidates=candidates))
    return {"queries": queries, "listed": 150, "features": features, "k": k, "ms": milliseconds,
            "TFLOP_s": 2 * queries * 150 * features / milliseconds / 1e9}  # fmt: skip


def _measure_networks(quick: bool, machine: dict[str, float]) -> list[dict[str, Any]]:
    if not torch.cuda.is_available():
        return [{"missing": "this torch has no CUDA"}]
    names, batch = (("alexnet",), 32) if quick else (("alexnet", "vgg16", "vgg19"), 256)
    return [row for name in names for row in measure_network(name, batch, machine)]


def main() -> int:
    """Check, measure, write; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, a minute in all")
    parser.add_argument("--out", type=Path, default=_ROOT / "bench" / "results" / "gpu.json")
    arguments = parser.parse_args()
    if (reason := why_not("cuda")) is not None:
        print(f"gpu-check: nothing was run: {reason}", file=sys.stderr)
        return 1
    done = subprocess.run([sys.executable, "-m", "pytest", "-m", "gpu", "tests"], cwd=_ROOT, check=False)
    if done.returncode != 0:
        print("gpu-check: the tests on the GPU fail: nothing was timed", file=sys.stderr)
        return 1
    cp = on_gpu.cupy()
    properties = cp.cuda.runtime.getDeviceProperties(0)
    machine = measure_machine()
    tokens, queries = (2_000_000, 20_000) if arguments.quick else (100_000_000, 216_000)
    results = {
        "gpu": properties["name"].decode(), "driver": cp.cuda.runtime.driverGetVersion(),
        "cupy": cp.__version__, "nvrtc": list(cp.cuda.nvrtc.getVersion()),
        "python": platform.python_version(),
        "radfast": rf.__version__, "machine": machine,
        "gibbs": [measure_gibbs(topics, tokens, machine) for topics in (80, 1000)],
        "cosine_dense": [measure_dense(n, 29_000, 512, 10, machine) for n in (queries, 10_000)],
        "cosine_candidates": [measure_candidates(queries, 29_000, 512, 10)],
        "networks": _measure_networks(arguments.quick, machine),
    }  # fmt: skip
    text = json.dumps(results, indent=2)
    arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
