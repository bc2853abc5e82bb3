"""Benchmarks: cost of the methods, with a lower bound and the published implementation.

`make bench` runs `benchmarks/run.py`, which writes `benchmarks/records`;
`benchmarks/page.py` writes `docs/results/performance.md` from these records.
"""
