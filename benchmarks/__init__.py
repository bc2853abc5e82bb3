"""What the methods cost, next to the least that they could and to the published way.

`make bench` runs `benchmarks/run.py`. What it measured is in `benchmarks/records`, and
in `docs/results/performance.md`, which `benchmarks/page.py` writes of it.
"""
