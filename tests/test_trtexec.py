"""How trtexec is asked and read, by a stand-in on the path."""

from pathlib import Path

import pytest

from bench.trtexec import measure_trtexec

SHAPE = (256, 1, 224, 224)


def put_on_path(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    tool = folder / "trtexec"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_throughput_is_read_in_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = f'echo "$@" >> {tmp_path}/asked; echo "[I] Throughput: 12.5 qps"'
    put_on_path(monkeypatch, tmp_path, script)
    assert measure_trtexec(b"model", SHAPE) == {"trtexec_images_per_s": 3200.0}
    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert "--shapes=images:256x1x224x224" in asked
    assert "--stronglyTyped" in asked


def test_a_version_without_the_flag_is_asked_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = 'case "$*" in *stronglyTyped*) echo unknown >&2; exit 1;; esac; echo "Throughput: 2 qps"'
    put_on_path(monkeypatch, tmp_path, script)
    assert measure_trtexec(b"model", SHAPE) == {"trtexec_images_per_s": 512.0}


def test_a_failure_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_on_path(monkeypatch, tmp_path, "echo no device >&2; exit 3")
    assert measure_trtexec(b"model", SHAPE) == {"trtexec_missing": "trtexec ended with 3: no device"}


def test_without_the_tool_nothing_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert measure_trtexec(b"model", SHAPE) == {"trtexec_missing": "trtexec is not on the path"}
