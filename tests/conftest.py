"""Shared fixtures: the real data where there is some, and every backend the machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from radfast.device import BACKENDS, why_not


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data; the test is skipped where it is absent."""
    folder = Path(os.environ.get("RADFAST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set RADFAST_DATA")
    return folder


_BACKENDS = [pytest.param(name, marks=pytest.mark.gpu if name == "cuda" else ()) for name in BACKENDS]


@pytest.fixture(params=_BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend in turn; one that cannot run is skipped with its reason."""
    if (reason := why_not(request.param)) is not None:
        pytest.skip(reason)
    return str(request.param)
