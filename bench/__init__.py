"""Benchmarks: each case once in cases_<kernel>.py, timed alone or in turn with a peer."""
