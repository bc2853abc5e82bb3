"""Memory goes back to the system when asked."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Blocks of 4 MB that lie in glibc's heap, where the last one keeps it from shrinking:
# a block that was mapped and freed raises the size from which blocks are mapped.
FREED = """
import torch
from benchmarks.ranks import resident_mib
from speechbrain_lmac.machine import give_back_memory

torch.ones(7_500_000)
blocks = [torch.ones(1_000_000) for _ in range(100)]
last = blocks[-1]
full = resident_mib()
del blocks
freed = resident_mib()
give_back_memory()
print("MiB", full, freed, resident_mib())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_freed_memory_goes_back_to_the_system():
    answer = subprocess.run(
        [sys.executable, "-c", FREED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    full, freed, after = map(float, re.search("MiB (.+)", answer.stdout)[1].split())
    assert freed > full - 20  # else there is nothing to give back
    assert after < full - 350
