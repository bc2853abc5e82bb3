"""Modules can be imported in any order."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EACH_FIRST = """
import importlib, sys
for name in sys.argv[1:]:
    for loaded in [m for m in sys.modules if m.startswith("speechbrain_lmac")]:
        del sys.modules[loaded]
    importlib.import_module(name)
"""


def test_every_module_can_be_the_first_that_is_imported():
    package = ROOT / "speechbrain_lmac"
    names = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in package.rglob("*.py")
        if path.stem != "__init__"
    )
    assert len(names) > 50
    command = [sys.executable, "-c", EACH_FIRST, *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
