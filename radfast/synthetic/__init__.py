"""Synthetic archives with known truth, and endless synthetic reports."""

from __future__ import annotations

from radfast.synthetic.archive import Summary, make_archive
from radfast.synthetic.stream import stream_reports

__all__ = ["Summary", "make_archive", "stream_reports"]
