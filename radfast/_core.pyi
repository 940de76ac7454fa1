# Types of the compiled module, whose source is csrc/bind_*.cpp. Kernels check arguments before they call it.
from typing import Any

import numpy as np
import numpy.typing as npt

_F32 = npt.NDArray[np.float32]
_I32 = npt.NDArray[np.int32]
_I64 = npt.NDArray[np.int64]

def simd() -> str: ...
def lower_simd(wanted: str) -> str: ...
def fma_peak(seconds: float) -> float: ...

# cosine: (scores, ids, first bad query or -1, first bad key or -1)
def cosine_dense(
    queries: _F32, keys: _F32, k: int, threads: int, key_scales: _F32 | None = None
) -> tuple[_F32, _I32, int, int]: ...
def cosine_candidates(
    queries: _F32,
    keys: _F32,
    k: int,
    indptr: _I64,
    ids: _I32,
    group: _I32,
    threads: int,
    key_scales: _F32 | None = None,
) -> tuple[_F32, _I32, int, int]: ...

# what makes each row a unit vector; for key_scales
def measure_keys(keys: _F32, threads: int) -> _F32: ...

# the set that PrunedIndex takes if not told: AVX2 also where 512-bit arithmetic takes two steps
def pruned_simd() -> str: ...

class PrunedIndex:
    def __init__(self, keys: _F32, basis: _F32, simd: str = "") -> None: ...
    # as cosine_dense, the number of products of single pairs made, and the CPU time over what the plain
    # search takes (0 where not measured); the number is -1 where a group of queries would need more than
    # `most` of its pairs: then the answers are undefined
    def search(
        self, queries: _F32, k: int, threads: int, most: float = 2.0
    ) -> tuple[_F32, _I32, int, int, int, float]: ...

def __getattr__(name: str) -> Any: ...
