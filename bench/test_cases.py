"""pytest-benchmark over every case: absolute figures, in units of work per second."""

from __future__ import annotations

from typing import Any

import pytest

from bench.case import Case
from bench.cases import CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, benchmark: Any) -> None:
    try:
        state = case.set_up(**case.sizes)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    case.check(state, case.work(state))
    benchmark.pedantic(case.work, args=(state,), rounds=5, warmup_rounds=1)
    benchmark.extra_info[f"{case.unit}/s"] = case.count(state) / benchmark.stats.stats.median
