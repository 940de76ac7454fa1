"""Every .cu compiles: by nvcc for three generations, and by NVRTC as the loader hands it over; both ship."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import emulated_gpu
import pytest

from radfast import device
from radfast.errors import RadfastError, UsageError
from radfast.kernels import gibbs, on_gpu

ROOT = Path(__file__).parents[1]
KERNELS = sorted(path.stem for path in (ROOT / "csrc").glob("*.cu"))


@pytest.mark.parametrize("generation", ["sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_nvcc_compiles(kernel: str, generation: str, tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc on PATH")
    source = tmp_path / f"{kernel}.cu"
    source.write_text(on_gpu.read_source(kernel), encoding="utf-8")
    command = [
        nvcc,
        *on_gpu.OPTIONS,
        f"-arch={generation}",
        "-cubin",
        "-Werror",
        "all-warnings",
        "-Xptxas",
        "-v",
    ]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "cubin"), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # Registers that spill to memory would undo what the layout saves.
    spilled = [int(line.split(" bytes spill stores")[0].split(", ")[-1]) for line in done.stderr.splitlines()
               if " bytes spill stores" in line]  # fmt: skip
    assert spilled
    assert max(spilled) <= 64


def _nvrtc() -> ctypes.CDLL:
    places = chain.from_iterable(
        Path(folder).glob("nvidia/*/lib/libnvrtc.so.*") for folder in sys.path if folder
    )
    for name in (*map(str, places), "libnvrtc.so"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    pytest.skip("no libnvrtc here (it comes with radfast[cuda])")


@pytest.mark.parametrize("kernel", KERNELS)
def test_nvrtc_compiles_what_the_loader_hands_over(kernel: str) -> None:
    library = _nvrtc()
    program = ctypes.c_void_p()
    source = on_gpu.read_source(kernel).encode()
    assert library.nvrtcCreateProgram(ctypes.byref(program), source, b"kernel.cu", 0, None, None) == 0
    options = [option.encode() for option in (*on_gpu.OPTIONS, "--gpu-architecture=sm_90")]
    result = library.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    log = ctypes.create_string_buffer(1 << 20)
    library.nvrtcGetProgramLog(program, log)
    assert result == 0, log.value.decode()


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_loader_leaves_no_include(kernel: str) -> None:
    text = on_gpu.read_source(kernel)
    assert "#include" not in text
    assert f"{kernel}_" in text


def test_a_missing_gpu_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "why_not", lambda backend: "no GPU today" if backend == "cuda" else None)
    chain = gibbs.start([0, 1], [0], 2, n_rows=1, alpha=0.1, eta=0.1)
    with pytest.raises(UsageError, match=r"\[gibbs\] backend 'cuda' cannot run: no GPU today"):
        gibbs.sample(chain, 1, backend="cuda")
    gibbs.sample(chain, 1, method="mh")
    assert device.available_backends() == ("cpu",)


def test_machine_code_is_compiled_once_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = emulated_gpu.EmulatedCupy({})
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setenv("RADFAST_CACHE_DIR", str(tmp_path / "kept"))
    compiler = fake.cuda.nvrtc
    on_gpu.forget()
    for _ in range(2):
        path = on_gpu.compile_kernels("gibbs")
        assert path.parent == tmp_path / "kept"
        assert path.read_text("utf-8") == "gibbs"
    assert compiler.calls == 1
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    monkeypatch.setattr(on_gpu, "OPTIONS", (*on_gpu.OPTIONS, "--lineinfo"))  # another option, another file
    assert on_gpu.compile_kernels("gibbs") != path
    (tmp_path / "file").write_text("", "utf-8")
    monkeypatch.setenv("RADFAST_CACHE_DIR", str(tmp_path / "file" / "no folder"))
    assert on_gpu.compile_kernels("gibbs").read_text("utf-8") == "gibbs"
    compiler.complaint = "line 3: no such name"
    with pytest.raises(RadfastError, match=r"\[gibbs.cu\] does not compile: line 3: no such name"):
        on_gpu.compile_kernels("gibbs")
    on_gpu.forget()


def test_gpu_check_says_why_it_measures_nothing() -> None:
    if (reason := device.why_not("cuda")) is None:
        pytest.skip("there is a GPU: make gpu-check measures it")
    command = [sys.executable, "-m", "bench.gpu_check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == f"gpu-check: nothing was run: {reason}"


class Driver:
    """A stand-in for libcuda with one GPU, of compute capability major.minor."""

    def __init__(self, major: int, minor: int, result: int = 0) -> None:
        self._values, self._result = {75: major, 76: minor}, result

    def cuInit(self, flags: int) -> int:
        return self._result

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:
        value._obj.value = self._values[attribute]
        return 0


@pytest.mark.parametrize(
    ("driver", "cupy", "reason"),
    [
        (None, True, r"no NVIDIA driver \(libcuda.so.1 is absent\)"),
        (Driver(9, 0, result=100), True, "the NVIDIA driver found no usable GPU"),
        (Driver(7, 5), True, "the GPU has compute capability 7.5, 8.0 is the least"),
        (Driver(9, 0), False, r"cupy is not installed: pip install radfast\[cuda\]"),
        (Driver(9, 0), True, "cupy does not load: libnvrtc is missing"),
    ],
)
def test_why_cuda_is_missing(
    monkeypatch: pytest.MonkeyPatch, driver: Driver | None, cupy: bool, reason: str
) -> None:
    def open_library(name: str) -> Driver:
        if driver is None:
            raise OSError(name)
        return driver

    def load(name: str) -> None:
        raise ImportError("libnvrtc is missing")

    monkeypatch.setattr(device, "why_no_driver", device.why_no_driver.__wrapped__)
    monkeypatch.setattr(device.ctypes, "CDLL", open_library)
    monkeypatch.setattr(device.importlib.util, "find_spec", lambda name: "found" if cupy else None)
    monkeypatch.setattr(device.importlib, "import_module", load)
    assert re.fullmatch(reason, device.why_not.__wrapped__("cuda") or "")
