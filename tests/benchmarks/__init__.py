"""Benchmarks, run by hand and before a release."""
