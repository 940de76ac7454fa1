"""Synthetic archives with known truth, and endless synthetic reports."""

from __future__ import annotations

from radfast.synthetic.archive import Summary, make_archive

__all__ = ["Summary", "make_archive"]
