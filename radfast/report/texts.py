"""Numbers as the page prints them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOTHING = "–"


def say_number(value: float | None, digits: int = 0) -> str:
    """Return 12,345 or, with digits, 12.35; a dash for None."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def say_rate(value: float | None) -> str:
    """Return a rate with three digits; a dash for None."""
    return NOTHING if value is None else f"{value:.3f}"


def say_share(value: float | None) -> str:
    """Return a share as a percentage."""
    return NOTHING if value is None else f"{value:.1%}"


def say_interval(estimate: Mapping[str, Any] | None) -> str:
    """Return ``0.612 to 0.702``, empty where there is no interval."""
    if not estimate or estimate.get("low") is None:
        return ""
    return f"{estimate['low']:.3f} to {estimate['high']:.3f}"


def say_seconds(value: float) -> str:
    """Return 0.4 s, 12 s, 3 min 05 s or 2 h 07 min."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(whole / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def say_bytes(value: int | None) -> str:
    """Return 812 MB or 3.4 GB (powers of 1000)."""
    if value is None:
        return NOTHING
    return f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{value / 1e6:,.0f} MB"


def say_code(value: str) -> str:
    """Return a code in words: ``no_such_image`` as ``no such image``."""
    return value.replace("_", " ")
