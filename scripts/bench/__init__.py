"""Measurements, printed and written to `docs/benchmarks.md`."""
