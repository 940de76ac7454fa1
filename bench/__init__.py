"""Benchmarks: each case once in cases.py, timed alone or in turn with a peer."""
