"""One case in a separate process: python -m benchmarks.alone MODULE CASE SETTINGS."""

import importlib
import json
import sys

from benchmarks.settings import SETTINGS
from speechbrain_lmac.utils.system import peak_memory_mib


def main(module, case, settings):
    """Print the results of the case and its peak memory as JSON."""
    run_alone = importlib.import_module(f"benchmarks.{module}").run_alone
    result = run_alone(case, SETTINGS[settings]) or {}
    print(json.dumps({**result, "peak_mib": peak_memory_mib()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
