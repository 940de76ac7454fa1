"""16-bit casts and 8-bit codes in the ONNX file: what is computed, how far from torch, and what stays."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from radfast.kernels.cnn import Gate, compile
from radfast.kernels.cnn.calibrate import calibrate, choose_entropy, choose_percentile
from radfast.kernels.cnn.compiled import RefusedError
from radfast.kernels.cnn.export import export_onnx
from radfast.kernels.cnn.gate import measure_gate
from radfast.kernels.cnn.graph import read_image_bytes
from radfast.kernels.cnn.lanes import as_bytes, as_tensor_bytes
from radfast.kernels.cnn.onnx import Calibration, change_precision
from radfast.kernels.cnn.precision import _round_bfloat16, cast_model
from radfast.kernels.cnn.quantise import list_activations, quantise_model
from radfast.kernels.cnn.reference import run_reference
from radfast.vision import Network, build

SIZE = 64
HEADS = {"document": 5, "vector": 8}


def draw(count: int) -> np.ndarray:
    """Smooth pictures: noise of all grey values shows a network nothing but its mean."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 1, 5, 5)))
    fine = nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bicubic").clamp(0, 255)
    return fine.round().to(torch.uint8).numpy()


@pytest.fixture(scope="module")
def net() -> Network:
    return build("vgg16", HEADS, 0.12, size=SIZE, seed=1).eval()


@pytest.fixture(scope="module")
def exported(net: Network) -> bytes:
    return export_onnx(net)


def run(model: bytes, images: np.ndarray) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": images}), strict=True))


def error(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> float:
    return max(float(np.abs(found[h] - v).max() / np.abs(v).max()) for h, v in wanted.items())


# Measured here: float16 1e-3, int8 0.05, fp8 0.1 of the largest output, for weights that were never trained.
@pytest.mark.parametrize(("precision", "limit"), [("float16", 4e-3), ("int8", 0.12), ("fp8", 0.25)])
@pytest.mark.parametrize("method", ["percentile", "entropy", "max"])
def test_the_file_computes_what_torch_does(
    net: Network, exported: bytes, precision: str, limit: float, method: str
) -> None:
    images = draw(8)
    model = change_precision(exported, precision, Calibration(images, method, ""), 1)
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    found = run(model, images.astype(np.float32))
    assert error(found, run_reference(net, images)) < limit
    assert all(value.dtype == np.float32 for value in found.values())


def test_bfloat16_file_is_valid_and_rounds_to_the_nearest(exported: bytes) -> None:
    model = onnx.load_from_string(cast_model(exported, "bfloat16"))
    onnx.checker.check_model(model, full_check=True)
    assert [port.type.tensor_type.elem_type for port in model.graph.output] == [1, 1]
    parts = onnx.load_from_string(exported).graph.initializer
    (weights,) = [numpy_helper.to_array(part) for part in parts if part.name == "net.features.5.weight"]
    small = [part for part in model.graph.initializer if part.data_type == onnx.TensorProto.BFLOAT16]
    assert len(small) > 10
    values = np.concatenate([weights.ravel(), [0, -0.0, 1 + 2**-8, 1 + 3 * 2**-8, 3e38]])
    wanted = torch.tensor(values, dtype=torch.float32).bfloat16().view(torch.int16).numpy().view(np.uint16)
    np.testing.assert_array_equal(_round_bfloat16(values.astype(np.float32)), wanted)


def test_what_stays_in_float32(exported: bytes) -> None:
    images = draw(2)
    ranges = calibrate(exported, list_activations(exported), images, "max", 1)
    model = onnx.load_from_string(quantise_model(exported, ranges, "int8"))
    codes = {part.name for part in model.graph.initializer if part.data_type == onnx.TensorProto.INT8}
    assert not [name for name in codes if "features.0." in name or "heads." in name]
    assert len([name for name in codes if name.endswith("_codes")]) >= 10
    zeros = [numpy_helper.to_array(part) for part in model.graph.initializer if "zero" in part.name]
    assert zeros
    assert not any(zero.any() for zero in zeros), "symmetric"


class Windowed(nn.Module):
    """Reads 16-bit pictures: products before the first layer must not lose their digits."""

    image_shape = (1, SIZE, SIZE)
    image_dtypes = ("uint16", "float32")

    def __init__(self) -> None:
        super().__init__()
        inside = torch.arange(16) == torch.arange(SIZE)[:, None] // 4
        self.mean = nn.Parameter(inside / 4)
        self.layer = nn.Conv2d(1, 3, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        small = (images @ self.mean - 30000) / 1000
        return self.layer(small.clamp(-1, 1)).mean(dim=(2, 3))


def test_pictures_as_bytes() -> None:
    module = Windowed().eval()
    images = np.random.default_rng(0).integers(28000, 32000, (3, 1, SIZE, SIZE)).astype(np.uint16)
    exported = export_onnx(module)
    wanted = run_reference(module, images)["output"]
    plain = run(exported, images.astype(np.float32))["output"]
    assert np.abs(plain - wanted).max() < 1e-5
    seen = as_bytes(images)
    assert seen.shape == (3, 1, SIZE, SIZE, 2)
    assert seen.base is not None, "a view, not a copy"
    np.testing.assert_array_equal(as_tensor_bytes(torch.from_numpy(images)).numpy(), seen)
    np.testing.assert_array_equal(run(read_image_bytes(exported, "uint16"), seen)["output"], plain)
    half = run(read_image_bytes(cast_model(exported, "float16"), "uint16"), seen)["output"]
    assert np.abs(half - wanted).max() < 2e-3, "the sums of 16-bit pictures stay in float32"
    assert np.abs(compile(module, "onnx", threads=1)(images)["output"] - wanted).max() < 1e-5
    bytes8 = draw(2)
    grey = export_onnx(build("alexnet", HEADS, 0.05, size=SIZE).eval())
    np.testing.assert_array_equal(
        run(read_image_bytes(grey, "uint8"), bytes8)["vector"], run(grey, bytes8.astype(np.float32))["vector"]
    )


def test_a_weight_beyond_float16_is_named() -> None:
    module = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        module[2].weight.fill_(1e5)
    exported = export_onnx(module.eval(), (1, 4, 4))
    with pytest.raises(RefusedError, match=r"2\.weight is beyond the range of float16"):
        cast_model(exported, "float16")
    run = compile(module, "onnx", "float16", image_shape=(1, 4, 4), threads=1)
    assert run.precision == "float32"
    assert "float16 was refused" in run.reason


def test_ranges() -> None:
    assert choose_percentile(np.zeros(2048)) == choose_entropy(np.zeros(2048)) == 1.0
    spread = np.ones(2048)
    assert choose_percentile(spread) > 0.999
    assert choose_entropy(spread) == 1.0
    bell = 1e6 * np.exp(-0.5 * (np.arange(2048) / 100) ** 2)
    bell[-1] = 1  # one outlier
    assert choose_percentile(bell) < 0.3
    assert choose_entropy(bell) < 0.3


def test_calibration_pictures_must_be_finite(exported: bytes) -> None:
    images = draw(2).astype(np.float32)
    images[0, 0, 3, 3] = np.nan
    with pytest.raises(RefusedError, match="not finite"):
        calibrate(exported, list_activations(exported), images, "percentile", 1)


def test_int8_on_this_machine_and_its_cache(net: Network, tmp_path: object) -> None:
    images = draw(24)
    with torch.no_grad():  # a head that has learned: one that has not gives every picture much the same
        features = net.embed(torch.from_numpy(images))
        features = features - features.mean(0)
        classes = nn.functional.one_hot(torch.arange(24) % 5, 5).float()
        fitted = torch.linalg.lstsq(features, classes - 0.2).solution
        net.heads["document"].weight.copy_(fitted.T)  # type: ignore[operator, union-attr]
    first = compile(net, "onnx", "int8", 8, tmp_path, calibration=images, threads=1)  # type: ignore[arg-type]
    assert first.precision == "int8"
    assert first.gate is not None
    assert first.gate.images == 24
    assert first.gate.real
    again = compile(net, "onnx", "int8", 8, tmp_path, calibration=images, threads=1)  # type: ignore[arg-type]
    assert "from the cache" in again.reason
    np.testing.assert_array_equal(again(images)["vector"], first(images)["vector"])
    other = compile(net, "onnx", "int8", 8, tmp_path, calibration=images[:20], threads=1)  # type: ignore[arg-type]
    assert "from the cache" not in other.reason, "other pictures, other ranges"


def test_gate() -> None:
    wanted = {"a": np.eye(4, dtype=np.float32), "b": np.full((4, 1), 2, np.float32)}
    assert measure_gate(wanted, wanted, "float32", real=True) == Gate("float32", 4, True, 0.0, "a", 1.0)
    off = {"a": np.roll(wanted["a"], 1, axis=0), "b": wanted["b"]}
    assert "head 'a' differs from torch by 1" in str(
        measure_gate(wanted, off, "int8", real=True).explain_failure()
    )
    close = {"a": wanted["a"] * 0.99, "b": wanted["b"]}
    assert measure_gate(wanted, close, "float16", real=True).explain_failure() is None
    assert measure_gate(wanted, close, "float32", real=True).explain_failure() is not None
    nan = {"a": wanted["a"], "b": np.full((4, 1), np.nan, np.float32)}
    assert "head 'b'" in str(measure_gate(wanted, nan, "fp8", real=False).explain_failure())
    tied = Gate("int8", 100, True, 0.1, "a", 0.97)
    assert tied.explain_failure() is None
    assert "keeps the class of only 0.950" in str(Gate("int8", 100, True, 0.1, "a", 0.95).explain_failure())
    assert Gate("int8", 100, False, 0.1, "a", 0.5).explain_failure() is None, "noise has no class"
