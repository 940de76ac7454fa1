"""What a benchmark case is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """One piece of work, written once: pytest-benchmark, peers and revisions all time the same.

    Attributes
    ----------
    name : str
        Kernel and variant, e.g. ``cosine-dense``.
    sizes : mapping of str to int
        What a reader needs to judge the figure.
    unit : str
        Unit of the work done, e.g. ``tokens``.
    set_up : callable
        ``set_up(**sizes) -> state``; not timed.
    work : callable
        ``work(state) -> result``; timed.
    count : callable
        ``count(state) -> float``: units of work in one call.
    check : callable
        ``check(state, result)``: asserts that the result is right; runs before anything is timed.
    peers : mapping of str to callable
        ``peer(state) -> result`` of the same work; an ImportError means the peer is not installed.
    products : callable, optional
        ``products(state) -> float``: multiply-adds of one call by the plain formula; the comparison gives
        them as a share of what the processor can do on `threads` threads, measured right before and after
        each call. A method that needs fewer products than the formula may reach more than 1.
    threads : int
        Threads the work runs on.
    """

    name: str
    sizes: Mapping[str, int]
    unit: str
    set_up: Callable[..., Any]
    work: Callable[[Any], Any]
    count: Callable[[Any], float]
    check: Callable[[Any, Any], None]
    peers: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    products: Callable[[Any], float] | None = None
    threads: int = 1
