"""All tests under other settings of the machine; writes docs/results/portability.md.

python -m tests.portability          # all runs, as `make test-portable`
python -m tests.portability 2 5 --seed 7   # some, in the order of that seed
"""

import argparse
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import torch

from speechbrain_lmac.reporting.markdown import MarkdownPage, table_lines
from speechbrain_lmac.utils.files import write_text
from speechbrain_lmac.utils.system import versions

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results" / "portability.md"
SITECUSTOMIZE = ROOT / "tests" / "start_method"
# What `make test` runs, in two processes.
PYTEST = (
    *("-m", "pytest", "--doctest-modules"),
    *("tests", "speechbrain_lmac", "data_prep", "benchmarks"),
    *("--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder"),
    "--quiet",
)
SSE41 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "SSE41"}


@dataclass(frozen=True)
class Run:
    """Settings of one run of all tests.

    Arguments
    ---------
    variables : dict
        Environment variables. Those of `VARIED` that are not named here are unset.
    threads : int
        Of torch, in each process.
    shuffled : bool
        Whether files, and tests within a file, are run in random order.
    folder : str
        Name of the folder for temporary files, in a new folder of the system's.
    """

    variables: dict = field(default_factory=dict)
    threads: int = 1
    shuffled: bool = True
    folder: str = "tmp"


RUNS = (
    Run(shuffled=False),
    Run(
        {**SSE41, "LC_ALL": "C", "START_METHOD": "spawn"},
        folder="a b#c",
    ),
    Run({"ATEN_CPU_CAPABILITY": "default", "START_METHOD": "forkserver"}, threads=2),
)
VARIED = {name for run in RUNS for name in run.variables}


@dataclass(frozen=True)
class Outcome:
    """Results of one run.

    Arguments
    ---------
    run : Run
    seed : int or None
        Seed of the order; None for the order of the files.
    seconds : float
        Wall time, the start included.
    passed : int
        Number of tests.
    failed : list of str
        Names of the tests that failed. "pytest itself" where it did not finish.
    skipped : dict
        Reason to number of tests.
    """

    run: Run
    seed: int | None
    seconds: float
    passed: int
    failed: list
    skipped: dict


def environment(run, folder):
    """Return the environment variables of a run whose temporary files go to `folder`.

    Example
    -------
    >>> found = environment(Run({"START_METHOD": "spawn"}, threads=2), "/tmp/x")
    >>> found["OMP_NUM_THREADS"], found["START_METHOD"], found["TMPDIR"]
    ('2', 'spawn', '/tmp/x')
    """
    kept = {name: value for name, value in os.environ.items() if name not in VARIED}
    paths = [str(SITECUSTOMIZE), kept.get("PYTHONPATH", "")]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "OMP_NUM_THREADS": str(run.threads),
        "OMP_WAIT_POLICY": "PASSIVE",  # two processes of two threads share two cores
        "TMPDIR": str(folder),
        **run.variables,
    }


def read_junit(path):
    """Return what a JUnit XML file says: passed, names of the failed, skips by reason.

    Arguments
    ---------
    path : str or Path

    Returns
    -------
    passed : int
    failed : list of str
    skipped : Counter
        Reason to number of tests.
    """
    passed, failed, skipped = 0, [], Counter()
    for case in ElementTree.parse(path).iter("testcase"):
        kinds = {child.tag: child for child in case}
        if kinds.keys() & {"failure", "error"}:
            failed.append(f"{case.get('classname')}::{case.get('name')}")
        elif "skipped" in kinds:
            skipped[kinds["skipped"].get("message")] += 1
        else:
            passed += 1
    return passed, failed, skipped


def execute(run, seed):
    """Run all tests under the settings of `run`, shuffled by `seed`: an `Outcome`."""
    with tempfile.TemporaryDirectory() as parent:
        folder, junit = Path(parent) / run.folder, Path(parent) / "junit.xml"
        folder.mkdir()
        order = ["-p", "randomly", f"--randomly-seed={seed}"] if run.shuffled else []
        # The seeds of Python and NumPy stay those of the tests themselves.
        order += ["--randomly-dont-reset-seed"] if run.shuffled else []
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, *PYTEST, *order, f"--junitxml={junit}"],
            cwd=ROOT,
            env=environment(run, folder),
        )
        seconds = time.monotonic() - started
        passed, failed, skipped = read_junit(junit) if junit.is_file() else (0, [], {})
    if done.returncode and not failed:
        failed = [f"pytest itself, exit status {done.returncode}"]
    return Outcome(
        run, seed if run.shuffled else None, seconds, passed, failed, skipped
    )


def processor():
    """Return the name of the processor, and the widest instructions torch uses."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"


def settings(run):
    """Return the settings of a run in words, for the page."""
    values = [f"`{name}={value}`" for name, value in run.variables.items()]
    values += [f"temporary folder `{run.folder}`"] if run.folder != "tmp" else []
    return ", ".join(values) or "none set"


def page(outcomes, on):
    """Return the text of docs/results/portability.md.

    Arguments
    ---------
    outcomes : list of Outcome
    on : datetime.date
    """
    rows = [
        [
            RUNS.index(outcome.run) + 1,
            settings(outcome.run),
            outcome.run.threads,
            "of the files" if outcome.seed is None else f"random, {outcome.seed}",
            outcome.passed,
            len(outcome.failed),
            sum(outcome.skipped.values()),
            f"{outcome.seconds:.0f}",
        ]
        for outcome in outcomes
    ]
    minutes = sum(outcome.seconds for outcome in outcomes) / 60
    titles = [
        "run",
        "settings",
        "threads",
        "order",
        *("passed", "failed", "skipped", "s"),
    ]
    reasons = sorted({reason for outcome in outcomes for reason in outcome.skipped})
    failed = [
        f"- run {RUNS.index(outcome.run) + 1}: `{name}`"
        for outcome in outcomes
        for name in outcome.failed
    ]
    made = MarkdownPage("Portability")
    made.add(
        "Written by `make test-portable`: all tests and doctests, under settings that "
        "change the last bits of floats, the order of the tests, the encoding, the "
        "temporary folder and how processes start. A variable that is not named is "
        "unset.",
        f"{on}, {minutes:.0f} minutes. {processor()}. {versions()}.",
        table_lines(titles, rows),
        "`START_METHOD` is that of multiprocessing, in subprocesses too "
        "(tests/start_method). Threads are those of torch, in each of two processes. "
        "The same order again: `python -m tests.portability RUN --seed SEED`.",
    )
    if failed:
        made.add("## Failed", failed)
    if reasons:
        made.add("## Skipped", [f"- {reason}" for reason in reasons])
    return made.text()


def main(argv):
    """Execute the runs and write the page: the exit status, 1 where a test failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    numbers = range(1, len(RUNS) + 1)
    parser.add_argument(
        "runs",
        type=int,
        nargs="*",
        metavar="RUN",
        help=f"1 to {len(RUNS)}; default: all",
    )
    parser.add_argument("--seed", type=int, help="of the order; default: a new one")
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args(argv)
    if not set(given.runs) <= set(numbers):
        parser.error(f"a run has a number from 1 to {len(RUNS)}, got {given.runs}")
    outcomes = []
    for number in given.runs or numbers:
        run, seed = RUNS[number - 1], given.seed
        seed = random.SystemRandom().getrandbits(32) if seed is None else seed
        print(f"run {number}: {settings(run)}, {run.threads} threads", flush=True)
        outcomes.append(execute(run, seed))
    write_text(page(outcomes, date.today()), given.page)
    print(f"wrote {given.page}")
    return int(any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
