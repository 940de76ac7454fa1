"""Counter-based random numbers of the compiled passes: a stream per (seed, sweep, unit), a number per place.

The scrambler is SplitMix64 (Steele, Lea and Flood 2014). csrc/gibbs_unit.h has its twin in C++.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from radfast.kernels.gibbs.team import compiled

#: Between the keys of two neighbours of a stream.
STEP = np.uint64(0x9E3779B97F4A7C15)


@compiled
def mix(x: Any) -> Any:
    """Scramble 64 bits."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@compiled
def stream(seed: Any, sweep: int, unit: int) -> Any:
    """Return the key of a stream; its n-th number is ``mix(key + n * STEP)``, n from 1."""
    key = mix(seed + STEP)
    key = mix(key + np.uint64(sweep + 1) * STEP)
    return mix(key + np.uint64(unit + 1) * STEP)
