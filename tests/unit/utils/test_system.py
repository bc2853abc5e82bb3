"""The description of a machine; freed memory is returned."""

import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from speechbrain_lmac.utils.system import command_line, environment_description
from tests.warm import warm_output

ROOT = Path(__file__).resolve().parents[3]

# Blocks of 4 MB that lie in glibc's heap, where the last one keeps it from shrinking:
# a block that was mapped and freed raises the size from which blocks are mapped.
FREED = """
import torch
from benchmarks.ranks import resident_mib
from speechbrain_lmac.utils.system import give_back_memory

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
    printed = warm_output("-c", FREED)
    full, freed, after = map(float, re.search("MiB (.+)", printed)[1].split())
    assert freed > full - 20  # else there is nothing to give back
    assert after < full - 350


def test_the_packages_are_those_of_this_python(tmp_path, monkeypatch):
    pip = tmp_path / "pip"
    pip.write_text("#!/bin/sh\necho torch==0.1\n")
    pip.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    lines = environment_description().splitlines()
    assert lines[0].startswith(f"Python {sys.version_info.major}.")
    expected = {
        f"{name}=={version(name)}" for name in ("torch", "torchaudio", "PyYAML")
    }
    assert expected <= set(lines)
    assert "torch==0.1" not in lines


@pytest.mark.parametrize("script", ["recipes/evaluate.py", "tools/models.py"])
def test_the_command_names_the_folder_of_its_script(script, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(ROOT / script)])
    assert command_line(["a.yaml"]) == f"python {script} a.yaml"
