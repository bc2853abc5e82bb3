"""Timings on a machine of varying speed: interleaved cases, medians, and a probe."""

import json
import os
import subprocess
import sys
import time
from statistics import median

import torch

PROBE_SIZE = 1024  # of the matrices whose product is timed
PROBES = 3


def probe():
    """Return seconds of a product of two matrices, the best of a few."""
    a, b = torch.rand(2, PROBE_SIZE, PROBE_SIZE)
    return min(seconds_of(lambda: a @ b) for _ in range(PROBES))


def seconds_of(work):
    """Return the seconds of a function call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def race(cases, rounds, warm_up=True):
    """Time functions in interleaved rounds, which spread slow minutes over all.

    Arguments
    ---------
    cases : dict
        Name to function without arguments.
    rounds : int
        Timings of each.
    warm_up : bool
        Call each once before.

    Returns
    -------
    timings : dict
        Name to `{"seconds": [...], "probes": [...]}`, a number for each round, with
        the probe just before.
    """
    for work in cases.values() if warm_up else ():
        work()
    timings = {name: {"seconds": [], "probes": []} for name in cases}
    for _ in range(rounds):
        for name, work in cases.items():
            timings[name]["probes"].append(probe())
            timings[name]["seconds"].append(seconds_of(work))
    return timings


def seconds(timings, name):
    """Return the median of a case's seconds."""
    return median(timings[name]["seconds"])


def ratio(timings, name, to):
    """Return the median over the rounds of the ratio of two cases' seconds.

    Example
    -------
    >>> timings = {"a": {"seconds": [3.0, 9.0]}, "b": {"seconds": [1.0, 3.0]}}
    >>> ratio(timings, "a", "b")
    3.0
    """
    pairs = zip(timings[name]["seconds"], timings[to]["seconds"], strict=True)
    return median(one / other for one, other in pairs)


def in_matmuls(timings, name):
    """Return the median of a case's seconds divided by those of its probe."""
    pairs = zip(timings[name]["seconds"], timings[name]["probes"], strict=True)
    return median(one / other for one, other in pairs)


def alone(module, case, settings, environment=None):
    """Run one case of a module in a separate process.

    Arguments
    ---------
    module : str
        Of this package; its function `run_alone(case, settings)` returns a dict.
    case : str
    settings : Settings
    environment : dict, optional
        Additional variables.

    Returns
    -------
    result : dict
        Its result, with `peak_mib`, the peak memory of the process.
    """
    command = [sys.executable, "-m", "benchmarks.alone", module, case, settings.name]
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])
