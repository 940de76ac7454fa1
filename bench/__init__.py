"""Benchmarks: each case once in cases.py, timed alone (pytest-benchmark) or in turn with a peer (compare.py)."""
