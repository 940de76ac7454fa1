"""TensorRT without a GPU: real engines built by tensorrt_rtx, and a fake runtime for all that runs them."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_tensorrt import make_machine
from torch import nn

from radfast.errors import UsageError
from radfast.kernels.cnn import compile
from radfast.kernels.cnn.compiled import RefusedError
from radfast.kernels.cnn.export import export_onnx, hash_network
from radfast.kernels.cnn.graph import read_image_bytes
from radfast.kernels.cnn.lanes import fill_up
from radfast.kernels.cnn.onnx import Calibration, change_precision
from radfast.kernels.cnn.reference import freeze, run_reference
from radfast.kernels.cnn.tensorrt import build_engine, compile_tensorrt, count_products, why_not_tensorrt
from radfast.kernels.cnn.tensorrt.library import Machine, find_library
from radfast.vision import Network, build

HEADS = {"document": 5, "vector": 8}
SIZE = 64
EXPORTED: dict[str, bytes] = {}
PRECISIONS = ("float32", "float16", "bfloat16", "int8", "fp8")


def make(name: str = "alexnet", seed: int = 1, heads: dict[str, int] = HEADS) -> Network:
    return build(name, heads, 0.1, size=SIZE, seed=seed).eval()


@pytest.fixture(autouse=True)
def _export_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Export each network once: it takes seconds, and gives the same bytes each time."""
    monkeypatch.setattr("radfast.kernels.cnn.tensorrt.export_onnx", export_kept)


def export_kept(net: nn.Module, image_shape: tuple[int, int, int]) -> bytes:
    key = hash_network(net, image_shape)
    if key not in EXPORTED:
        EXPORTED[key] = export_onnx(net, image_shape)
    return EXPORTED[key]


def draw(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 1, SIZE, SIZE), dtype=np.uint8)


def calibrate(count: int = 4) -> Calibration:
    return Calibration(draw(count), "percentile", "digest")


@pytest.fixture(scope="module")
def files() -> dict[tuple[str, str], bytes]:
    """Every network in every precision, with all heads."""
    exported = {
        name: export_kept(freeze(make(name)), (1, SIZE, SIZE)) for name in ("alexnet", "vgg16", "vgg19")
    }
    return {
        (name, precision): change_precision(model, precision, calibrate(), 1)
        for name, model in exported.items()
        for precision in PRECISIONS
    }


# Real engines, built without a GPU -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def builder() -> Any:
    """The TensorRT that builds here."""
    if find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed: pip install tensorrt-rtx")
    import tensorrt_rtx

    return tensorrt_rtx


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["alexnet", "vgg16", "vgg19"])
def test_every_network_and_precision_builds(
    builder: Any, files: dict[tuple[str, str], bytes], name: str, precision: str
) -> None:
    model = files[name, precision]
    engine, timing = build_engine(builder, read_image_bytes(model, "uint8"), 16)
    assert len(engine) > 100_000
    again, _ = build_engine(builder, model, 4, timing)
    assert len(again) > 100_000
    counts = count_products(model)
    layers = {"alexnet": 8, "vgg16": 16, "vgg19": 19}[name]  # with one more head, and two of the pooling
    assert sum(counts.values()) == layers + 3
    if precision in ("int8", "fp8"):
        assert counts["float32"] >= 5, "the pooling, the heads and the first layer stay"
        assert counts[precision] >= layers // 2
    else:
        assert counts == {precision: layers + 3}


def test_uint16_pictures_build(builder: Any, files: dict[tuple[str, str], bytes]) -> None:
    engine, _ = build_engine(builder, read_image_bytes(files["alexnet", "float16"], "uint16"), 2)
    assert len(engine) > 100_000


def test_a_file_that_is_none_is_refused_with_the_librarys_words(builder: Any) -> None:
    with pytest.raises(RefusedError, match=r"TensorRT does not understand the file: \w+"):
        build_engine(builder, b"not an ONNX file", 2)


# The driver guard ------------------------------------------------------------------------------------------


def test_without_a_driver_no_runtime_is_touched() -> None:
    """In a process of its own: a Runtime without a driver would end it."""
    code = (
        "import sys\n"
        "import radfast.device\n"
        "radfast.device.why_no_driver = lambda: 'no NVIDIA driver (libcuda.so.1 is absent)'\n"
        "import radfast.kernels.cnn.tensorrt.library as library\n"
        "library.why_no_driver = radfast.device.why_no_driver\n"
        "library.find_library = lambda: 'tensorrt_rtx'\n"
        "from radfast import vision, compile\n"
        "from radfast.errors import UsageError\n"
        "net = vision.build('alexnet', {'document': 3}, 0.05, size=64)\n"
        "run = compile(net, backend='auto', threads=1)\n"
        "assert 'tensorrt was refused: no NVIDIA driver' in run.reason, run.reason\n"
        "try:\n"
        "    compile(net, backend='tensorrt')\n"
        "except UsageError as error:\n"
        "    print(error)\n"
        "assert not {'tensorrt', 'tensorrt_rtx'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "backend 'tensorrt' cannot run this network: no NVIDIA driver" in done.stdout


def test_the_missing_piece_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    library, gpu = "radfast.kernels.cnn.tensorrt.library", "radfast.kernels.cnn.gpu"
    monkeypatch.setattr(f"{library}.find_spec", lambda name: None)
    assert find_library() is None
    assert "tensorrt is not installed" in str(why_not_tensorrt())
    monkeypatch.setattr(f"{library}.find_spec", lambda name: name == "tensorrt_rtx" or None)
    assert find_library() == "tensorrt_rtx"
    monkeypatch.setattr(f"{library}.find_spec", lambda name: True)
    assert find_library() == "tensorrt"
    monkeypatch.setattr(f"{gpu}.why_no_driver", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "without CUDA" in str(why_not_tensorrt())


# The fake runtime ------------------------------------------------------------------------------------------


def open_fake(
    machine: Machine, folder: Path | None = None, precision: str = "float16", batch: int = 4, net: Any = None
) -> Any:
    calibration = calibrate() if precision in ("int8", "fp8") else None
    return compile_tensorrt(
        net or make(), (1, SIZE, SIZE), batch, 1, folder, "test", precision, calibration, machine
    )


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 11])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_batches_tails_and_buffers(count: int, dtype: str) -> None:
    machine, library = make_machine()
    run = open_fake(machine)
    images = draw(count, seed=count).astype(dtype)
    run(images[:1])
    library.batches.clear()
    found = run(images)
    wanted = run_reference(make(), images)
    for head, value in wanted.items():
        assert found[head].shape == (count, HEADS[head])
        assert found[head].dtype == np.float32
        if count:
            assert np.abs(found[head] - value).max() <= 4e-3 * np.abs(value).max()
    full, tail = divmod(count, 4)
    assert library.batches == [4] * full + ([fill_up(tail, 4)] if tail else [])
    tensor = run._run_on_device(torch.from_numpy(images))
    for head, value in found.items():
        np.testing.assert_array_equal(tensor[head].numpy(), value)


def test_fill_up() -> None:
    assert [fill_up(count, 6) for count in range(1, 7)] == [1, 2, 4, 4, 6, 6]


def test_nan_stays_in_its_row() -> None:
    run = open_fake(make_machine()[0])
    images = draw(6).astype(np.float32)
    clean = run(images)
    images[2] = np.nan
    for head, value in run(images).items():
        np.testing.assert_array_equal(np.delete(value, 2, 0), np.delete(clean[head], 2, 0))


def test_a_full_batch_is_recorded_once_per_lane() -> None:
    machine, _ = make_machine()
    run = open_fake(machine, batch=2)
    for _ in range(3):
        run(draw(12))
    assert machine.device.recorded == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "fp8"])
def test_precisions_and_their_proof(precision: str, tmp_path: Path) -> None:
    machine, _ = make_machine()
    run = open_fake(machine, tmp_path, precision)
    assert run.precision == precision
    assert run.gate.precision == precision
    assert run.products[precision] >= 2
    (about,) = tmp_path.glob("*-*.json")
    told = json.loads(about.read_text())
    assert told["gate"]["max_error"] == run.gate.max_error
    assert told["products"] == run.products


def test_cache_hit_needs_no_build(tmp_path: Path) -> None:
    machine, library = make_machine()
    first = open_fake(machine, tmp_path)(draw(5))
    assert library.builds == 1
    again, other_library = make_machine()
    run = open_fake(again, tmp_path)
    assert other_library.builds == 0
    np.testing.assert_array_equal(run(draw(5))["vector"], first["vector"])
    assert run.gate is not None
    for change in ({"batch": 8}, {"precision": "float32"}, {"net": make(seed=2)}, {"net": make("vgg16")}):
        before = other_library.builds
        open_fake(again, tmp_path, **change)
        assert other_library.builds == before + 1, f"another {next(iter(change))} is another engine"


@pytest.mark.parametrize("change", [{"gpu": "B200"}, {"driver": "12080"}, {"version": "10.9"}])
def test_a_foreign_engine_is_built_anew_with_one_line(
    tmp_path: Path, change: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    open_fake(make_machine()[0], tmp_path)
    caplog.clear()
    machine, library = make_machine(**change)
    with caplog.at_level(logging.WARNING, logger="radfast.cnn"):
        open_fake(machine, tmp_path)
    assert library.builds == 1
    assert [r.message for r in caplog.records if "another GPU, driver or TensorRT" in r.message]
    assert len(caplog.records) == 1
    assert library.timings == [b""], "what was measured elsewhere is not used"


@pytest.mark.parametrize("spoil", ["cut", "swapped", "json", "no json", "key"])
def test_a_damaged_engine_is_built_anew(tmp_path: Path, spoil: str, caplog: pytest.LogCaptureFixture) -> None:
    wanted = open_fake(make_machine()[0], tmp_path)(draw(3))
    (engine,) = tmp_path.glob("*.engine")
    about = engine.with_suffix(".json")
    if spoil == "cut":
        engine.write_bytes(engine.read_bytes()[:-10])
    elif spoil == "swapped":
        engine.write_bytes(b"something else")
    elif spoil == "json":
        about.write_text(about.read_text()[:-20])
    elif spoil == "no json":
        about.unlink()
    else:
        about.write_text(about.read_text().replace('"float16"', '"float32"'))
    machine, library = make_machine()
    with caplog.at_level(logging.WARNING, logger="radfast.cnn"):
        found = open_fake(machine, tmp_path)(draw(3))
    assert library.builds == 1
    assert "built anew" in caplog.text
    np.testing.assert_array_equal(found["document"], wanted["document"])
    third, library = make_machine()
    open_fake(third, tmp_path)
    assert library.builds == 0, "it was repaired"


def test_an_engine_that_does_not_load_is_built_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file is whole and the key is right, but the library does not take it."""
    open_fake(make_machine()[0], tmp_path)
    (engine,) = tmp_path.glob("*.engine")
    about = json.loads(engine.with_suffix(".json").read_text())
    engine.write_bytes(b"whole, but no engine")
    about["sha256"] = hashlib.sha256(b"whole, but no engine").hexdigest()
    engine.with_suffix(".json").write_text(json.dumps(about))
    machine, library = make_machine()
    with caplog.at_level(logging.WARNING, logger="radfast.cnn"):
        open_fake(machine, tmp_path)
    assert library.builds == 1
    assert "does not load" in caplog.text


def test_timing_is_kept_between_builds(tmp_path: Path) -> None:
    machine, library = make_machine()
    open_fake(machine, tmp_path)
    open_fake(machine, tmp_path, batch=8)
    assert library.timings == [b"", b"."]


def test_memory_ends_and_the_batch_is_halved(caplog: pytest.LogCaptureFixture) -> None:
    machine, library = make_machine(room=3)
    with caplog.at_level(logging.WARNING, logger="radfast.cnn"):
        run = open_fake(machine, batch=16)
    assert run.max_batch == 2
    assert caplog.text.count("no memory for") == 3
    library.batches.clear()
    wanted = run_reference(make(), draw(5))
    assert np.abs(run(draw(5))["vector"] - wanted["vector"]).max() <= 4e-3 * np.abs(wanted["vector"]).max()
    assert max(library.batches) == 2
    with pytest.raises(RefusedError, match="no memory for one picture"):
        open_fake(make_machine(room=0)[0])


def test_no_contexts_means_no_memory() -> None:
    machine, library = make_machine()
    library.no_contexts = True
    with pytest.raises(RefusedError, match="no memory for one picture"):
        open_fake(machine)


def test_a_precision_outside_its_tolerance_gives_way(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The fake spoils every float16 weight; what takes its place is float32, as it has no bfloat16."""
    machine, library = make_machine()
    library.spoil_types = {10}
    with caplog.at_level(logging.WARNING, logger="radfast.cnn"):
        run = open_fake(machine, tmp_path)
    assert run.precision == "float32"
    assert "TensorRT in float16 was refused, bfloat16 is tried: head 'document' differs" in caplog.text
    assert "float16 was refused" in run.reason
    assert {json.loads(path.read_text())["key"]["precision"] for path in tmp_path.glob("*.json")} == {
        "float32"
    }
    library.spoil_types = {1, 10}
    with pytest.raises(RefusedError, match="differs from torch"):
        open_fake(machine)


def test_library_that_fails_is_quoted() -> None:
    machine, library = make_machine()
    library.no_engine = True
    with pytest.raises(RefusedError, match="TensorRT builds no engine"):
        open_fake(machine)
    machine, library = make_machine()
    run = open_fake(machine)
    library.fail_next_run = True
    with pytest.raises(RefusedError, match="did not run"):
        run(draw(4))


def test_any_module_runs() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    net(torch.zeros(1, 1, SIZE, SIZE))
    run = open_fake(make_machine()[0], net=net)
    wanted = run_reference(net, draw(5))["output"]
    assert np.abs(run(draw(5))["output"] - wanted).max() <= 4e-3 * np.abs(wanted).max()


def test_wrong_images_are_refused_at_the_door() -> None:
    run = open_fake(make_machine()[0])
    with pytest.raises(UsageError, match="images must be uint8 or float32, are uint16"):
        run(draw(1).astype(np.uint16))
    with pytest.raises(UsageError, match=r"images must be \(N, 1, 64, 64\)"):
        run(draw(1)[..., :-1])


@pytest.mark.gpu
@pytest.mark.parametrize("precision", PRECISIONS)
def test_real_engines_agree_with_torch(precision: str, tmp_path: Path) -> None:
    if (reason := why_not_tensorrt()) is not None:
        pytest.skip(reason)
    images = draw(37)
    run = compile(make("vgg16"), "tensorrt", precision, 16, tmp_path, calibration=images)
    wanted = run_reference(make("vgg16"), images)
    assert run.gate is not None
    for head, value in wanted.items():
        assert (
            np.abs(run(images)[head] - value).max() <= 2 * max(run.gate.max_error, 1e-4) * np.abs(value).max()
        )
        on_gpu = run(torch.from_numpy(images).cuda())[head]
        assert on_gpu.is_cuda
        np.testing.assert_allclose(on_gpu.cpu().numpy(), run(images)[head], rtol=1e-5, atol=1e-6)
