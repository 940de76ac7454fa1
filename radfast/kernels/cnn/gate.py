"""How far a compiled network may be from torch in float32, and how far it is.

A precision is accepted when ``max |found - wanted| <= tolerance * max |wanted|`` per head. On the user's own
pictures the classes count, too: the share of pictures whose largest output is the same class as torch's.
Noise has no such class, so on noise the share is stored and not judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

#: Share of the head's largest output. Measured on AlexNet and VGG: float32 2e-6, float16 1e-3, bfloat16 1e-2.
TOLERANCES = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 8e-2, "int8": 0.3, "fp8": 0.3}
#: Least share of pictures that keep their class.
AGREEMENTS = {"float32": 1.0, "float16": 0.99, "bfloat16": 0.98, "int8": 0.97, "fp8": 0.97}
#: What is tried where a precision leaves its tolerance; float32 has nothing below.
NEXT_PRECISION = {"fp8": "float16", "int8": "float16", "float16": "bfloat16", "bfloat16": "float32"}
PRECISIONS = tuple(TOLERANCES)


@dataclass(frozen=True)
class Gate:
    """What was measured when a network was compiled.

    Attributes
    ----------
    precision : str
    images : int
        Pictures compared.
    real : bool
        They are the user's, not noise.
    max_error : float
        Largest difference from torch, as a share of the head's largest output; the worst head's.
    worst_head : str
        Which that is.
    top1_agreement : float
        Share of pictures whose largest output is torch's, of the worst head of two classes or more.
    """

    precision: str
    images: int
    real: bool
    max_error: float
    worst_head: str
    top1_agreement: float

    def explain_failure(self) -> str | None:
        """Say which limit is left; None where it holds."""
        if not self.max_error <= TOLERANCES[self.precision]:  # not: NaN fails, too
            return (
                f"head '{self.worst_head}' differs from torch by {self.max_error:.2g} of its largest output "
                f"in {self.precision}"
            )
        # Of few pictures one may change its class: a tie is enough for that.
        allowed = math.ceil((1 - AGREEMENTS[self.precision]) * self.images)
        if self.real and round((1 - self.top1_agreement) * self.images) > allowed:
            return f"{self.precision} keeps the class of only {self.top1_agreement:.3f} of the pictures"
        return None

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON knows them."""
        return asdict(self)


def measure_gate(
    wanted: Mapping[str, npt.NDArray[np.float32]],
    found: Mapping[str, npt.NDArray[np.float32]],
    precision: str,
    *,
    real: bool,
) -> Gate:
    """Compare outputs (N, classes) per head with torch's."""
    errors: dict[str, float] = {}
    agreements = [1.0]
    count = 0
    for head, value in wanted.items():
        count = len(value)
        if found[head].shape != value.shape or not np.isfinite(found[head]).all():
            errors[head] = np.inf
            continue
        largest = max(float(np.abs(value).max(initial=0)), 1e-6)
        errors[head] = float(np.abs(value - found[head]).max(initial=0)) / largest
        if value.shape[1] > 1 and count:
            agreements.append(float((value.argmax(1) == found[head].argmax(1)).mean()))
    worst = max(errors, key=lambda head: errors[head])
    return Gate(precision, count, real, errors[worst], worst, min(agreements))
