"""What a run took, and on what it ran."""

import platform
import sys

import speechbrain
import torch
import torchaudio


def peak_memory_mib():
    """The most memory this process has held, in MiB (NaN where it is not known)."""
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def versions():
    """The versions that a number depends on, as one line."""
    return (
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"torchaudio {torchaudio.__version__}, speechbrain {speechbrain.__version__}, "
        f"{torch.get_num_threads()} threads on {platform.machine()}"
    )
