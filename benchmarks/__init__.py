"""Figures, measured on loopback: `python -m benchmarks.NAME`."""
