"""Arrays of ids and offsets as the kernels take them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from radfast.errors import InputError


def read_ids(values: Any, dtype: type[np.integer[Any]], name: str) -> NDArray[Any]:
    """Return `values` as a row of `dtype`, contiguous, without a copy where that is possible.

    Parameters
    ----------
    values : array_like of integer, shape (N,)
        Empty ones may have any type.
    dtype : type
    name : str
        Who asks, and for what: "[start] rows".

    Raises
    ------
    InputError
        If they are no whole numbers in 1 dimension, or one is out of the range of `dtype`.
    """
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InputError(f"{name} must be whole numbers in 1 dimension, is {array.dtype} {array.shape}")
    if array.size and not np.can_cast(array.dtype, dtype):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        if array.min() < low or array.max() > high:
            raise InputError(f"{name} must be {low} to {high}, is {array.min()} to {array.max()}")
    return np.ascontiguousarray(array, dtype=dtype)
