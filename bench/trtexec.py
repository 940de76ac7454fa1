"""TensorRT's own timing tool on the ONNX file that our engine is built from, where it is on the path."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path


def measure_trtexec(model: bytes, shape: tuple[int, ...]) -> dict[str, object]:
    """Return images/s of trtexec on an ONNX file for batches of `shape`, or what is missing.

    The pictures stay on the device and a CUDA graph is replayed, as our device figure is taken. Types are
    those of the file: TensorRT 10 asks for ``--stronglyTyped``, later ones know nothing else.
    """
    tool = shutil.which("trtexec")
    if tool is None:
        return {"trtexec_missing": "trtexec is not on the path"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        command = [tool, f"--onnx={path}", f"--shapes=images:{'x'.join(map(str, shape))}",
                   "--noDataTransfers", "--useCudaGraph", "--warmUp=500", "--duration=5"]  # fmt: skip
        for more in (["--stronglyTyped"], []):
            done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
            rate = re.search(r"Throughput: ([0-9.]+) qps", done.stdout)
            if done.returncode == 0 and rate:
                return {"trtexec_images_per_s": float(rate[1]) * shape[0]}
    reason = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return {"trtexec_missing": f"trtexec ended with {done.returncode}: {reason[-1] if reason else ''}"}
