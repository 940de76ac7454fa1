"""Hands csrc/ to CMake; everything else about the project stands in pyproject.toml."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


class CMakeBuild(build_ext):
    def build_extension(self, ext: Extension) -> None:
        import pybind11

        root = Path(__file__).parent.resolve()
        target = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        work = Path(self.build_temp).resolve() / "cmake"
        work.mkdir(parents=True, exist_ok=True)
        configure = [
            "cmake", "-S", str(root), "-B", str(work), "-G", "Ninja",
            "-DCMAKE_BUILD_TYPE=Release",
            f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            *os.environ.get("RADFAST_CMAKE_ARGS", "").split(),
        ]  # fmt: skip
        subprocess.run(configure, check=True)
        subprocess.run(["cmake", "--build", str(work), "--target", "_core"], check=True)
        if target != root / "radfast":  # a source tree reads csrc itself: a copy in it would grow stale
            (target / "csrc").mkdir(exist_ok=True)
            for source in (*root.glob("csrc/*.cu"), *root.glob("csrc/*.cuh")):
                shutil.copy2(source, target / "csrc")


setup(ext_modules=[Extension("radfast._core", sources=[])], cmdclass={"build_ext": CMakeBuild})
