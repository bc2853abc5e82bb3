"""What a run took, and on what it ran."""

import ctypes
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path

import speechbrain
import torch
import torchaudio

# An option that names where data lie, and the `=` behind it.
FOLDER = re.compile(r"(--(?!output_)\w+_folder)(?:(=)|$)")


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread.

    What torch returns may depend in its last bit on how many threads share the work.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_memory_mib() -> float:
    """The most memory this process has held, in MiB (NaN where it is not known)."""
    status = Path("/proc/self/status")
    if status.is_file():  # what getrusage says counts the parent in that started it
        held = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)
        if held is not None:
            return int(held.group(1)) / 2**10
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def give_back_memory() -> None:
    """Give what this process has freed back to the system, where glibc allocates.

    It keeps the blocks below 32 MB that were freed, and puts nothing larger there.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in musl
        if trim is not None:
            trim(0)


def versions() -> str:
    """The versions that a number depends on, as one line."""
    return (
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"torchaudio {torchaudio.__version__}, speechbrain {speechbrain.__version__}, "
        f"{torch.get_num_threads()} threads on {platform.machine()}"
    )


def environment_description() -> str:
    """What env.log says: Python, every package, the git revision here, and CUDA.

    SpeechBrain asks the `pip` that comes first on the PATH, which may be another
    Python's, and waits a second for it.
    """
    packages = {f"{package.name}=={package.version}" for package in distributions()}
    return "\n".join(
        [
            f"Python {sys.version}",
            *("", "Installed packages:", *sorted(packages, key=str.lower)),
            *("", f"Git revision of the current folder: {_git_revision()}"),
            f"CUDA: {torch.version.cuda if torch.cuda.is_available() else 'none'}",
            "",
        ]
    )


def _git_revision() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "none"


def command_line(argv: list[str]) -> str:
    """The command of this run, to be published: where the data lay is left out.

    Example
    -------
    >>> command_line(["a.yaml", "--data_folder", "~/my sets/ESC-50", "--seed=1"])[-37:]
    'a.yaml --data_folder DATASET --seed=1'
    >>> command_line(["a.yaml", "--data_folder=my #1"])[-28:]
    'a.yaml --data_folder=DATASET'
    """
    words, folder_next = [], False
    for word in map(str, argv):
        named = FOLDER.match(word)
        if folder_next:
            word = "DATASET"
        elif named and named[2]:
            word = f"{named[1]}=DATASET"
        folder_next = bool(named and not named[2])
        words.append(word)
    script = Path(sys.argv[0]).resolve()
    folder = "tools" if script.parent.name == "tools" else "recipes"
    return "python " + shlex.join([f"{folder}/{script.name}", *words])
