"""One case in a process of its own: python -m benchmarks.alone MODULE CASE SETTINGS."""

import importlib
import json
import sys

from benchmarks.settings import SETTINGS
from speechbrain_lmac.utils.system import peak_memory_mib


def main(module, case, settings):
    """Print as JSON what the case says, and the most memory that it took."""
    run_alone = importlib.import_module(f"benchmarks.{module}").run_alone
    answer = run_alone(case, SETTINGS[settings]) or {}
    print(json.dumps({**answer, "peak_mib": peak_memory_mib()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
