"""The house stands: light import, floors, one version, every Makefile word works on something."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import radfast

ROOT = Path(__file__).parents[1]
HEAVY = ("numba", "torch", "cupy", "tensorrt", "pydicom", "sklearn", "pyarrow", "gensim", "pandas", "scipy")


@pytest.mark.parametrize("module", ["radfast", "radfast.cli.commands", "radfast.device"])
def test_imports_stay_light(module: str) -> None:
    command = [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in HEAVY if name in loaded]


def test_every_public_name_has_a_home() -> None:
    for name in radfast.__all__:
        assert getattr(radfast, name) is not None
    assert set(radfast.__all__) <= set(dir(radfast))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = radfast.no_such_name


def _lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).parent / "lint-imports", "--config", "pyproject.toml", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("topics/planted.py", "import radfast.vectors", "a floor imports only the floors below"),
        ("kernels/planted.py", "import radfast.text", "a floor imports only the floors below"),
        ("kernels/planted.py", "import radfast.types", "kernels know arrays only"),
        ("vision/planted.py", "import radfast.synthetic", "synthetic archives are made for"),
        ("text/planted.py", "import radfast.kernels.tokenize.cpu", "only through its dispatcher"),
    ],
)
def test_a_planted_import_fails_the_layers(file: str, line: str, contract: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    ignore = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(ROOT / "radfast", tmp_path / "radfast", ignore=ignore)
    (tmp_path / "radfast" / file).write_text(f"{line}\n", encoding="utf-8")
    result = _lint_imports(tmp_path)
    assert result.returncode == 1
    assert re.search(rf"{contract}.*BROKEN", result.stdout)


def test_the_house_as_it_stands_keeps_its_contracts() -> None:
    result = _lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


def test_files_stay_short() -> None:
    files = [path for folder in ("radfast", "csrc", "bench", "tests") for path in (ROOT / folder).rglob("*")]
    sources = [path for path in files if path.suffix in {".py", ".cpp", ".h", ".cu", ".cuh"}]
    sources = [path for path in sources if not path.stem.endswith("_data")]  # generated tables
    long = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in sources}
    assert not {name: lines for name, lines in long.items() if lines > 400}


def test_nothing_goes_by_a_name_that_says_nothing() -> None:
    forbidden = {"utils", "common", "helpers", "base", "misc"}
    names = [path.stem for folder in ("radfast", "csrc", "bench") for path in (ROOT / folder).rglob("*")]
    assert not forbidden & set(names)


def test_every_word_of_the_makefile_is_explained() -> None:
    words = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert words is not None
    said = (ROOT / "CONTRIBUTING.md").read_text("utf-8") + (ROOT / "README.md").read_text("utf-8")
    assert [word for word in words[1].split() if f"make {word}" not in said] == []


def test_fuzzing_without_clang_says_what_to_install(tmp_path: Path) -> None:
    for tool in ("sh", "make", "cmake"):
        found = shutil.which(tool)
        if found is None:
            pytest.skip(f"{tool} is not installed")
        (tmp_path / tool).symlink_to(found)
    done = subprocess.run(
        ["make", "fuzz"], cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "make fuzz needs clang++ with libFuzzer: apt-get install clang" in done.stdout
