"""Resource use and environment."""

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

# A data-folder option, and the `=` after it.
FOLDER = re.compile(r"(--(?!output_)\w+_folder)(?:(=)|$)")


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch with one thread within the context.

    The last bit of torch's results may depend on the number of threads.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_memory_mib() -> float:
    """Return the peak memory of this process in MiB (NaN if unknown)."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage includes the parent process before its fork
        peak_kib = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)
        if peak_kib is not None:
            return int(peak_kib.group(1)) / 2**10
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def give_back_memory() -> None:
    """Release freed memory of this process to the system (glibc only).

    glibc's heap keeps freed blocks of up to 32 MB.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in musl
        if trim is not None:
            trim(0)


def versions() -> str:
    """Return the versions of the software that scores depend on, in one line."""
    return (
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"torchaudio {torchaudio.__version__}, speechbrain {speechbrain.__version__}, "
        f"{torch.get_num_threads()} threads on {platform.machine()}"
    )


def environment_description() -> str:
    """Return the text of env.log: Python, all packages, the git revision, and CUDA.

    SpeechBrain's version runs the first `pip` on the PATH, which may belong to another
    Python and takes a second.
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
    """Return the command of this run for publication, without data folders.

    Example
    -------
    >>> command_line(["a.yaml", "--data_folder", "~/my sets/ESC-50", "--seed=1"])[-37:]
    'a.yaml --data_folder DATASET --seed=1'
    >>> command_line(["a.yaml", "--data_folder=my #1"])[-28:]
    'a.yaml --data_folder=DATASET'
    """
    words, folder_next = [], False
    for word in map(str, argv):
        option = FOLDER.match(word)
        if folder_next:
            word = "DATASET"
        elif option and option[2]:
            word = f"{option[1]}=DATASET"
        folder_next = bool(option and not option[2])
        words.append(word)
    script = Path(sys.argv[0]).resolve()
    folder = "tools" if script.parent.name == "tools" else "recipes"
    return "python " + shlex.join([f"{folder}/{script.name}", *words])
