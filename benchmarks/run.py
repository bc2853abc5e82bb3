"""Run the benchmarks: python -m benchmarks.run [NAME ...] [--settings tiny].

Each writes NAME.json; without names all are run. Full records are in
`benchmarks/records`, and each can be updated separately; tiny ones are in
`results/bench`.
"""

import argparse
import importlib
import json
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.settings import SETTINGS
from speechbrain_lmac.utils.files import write_text
from speechbrain_lmac.utils.system import versions

BENCHMARKS = (
    "training",
    "evaluation",
    "explanation",
    "loading",
    "scaling",
    "long_files",
    "ranks",
    "streaming",
    "faithfulness",
)
FOLDER = Path(__file__).resolve().parent / "records"


def run(names, settings, folder=FOLDER):
    """Run some benchmarks and write their records."""
    for name in names:
        print(f"benchmark: {name}", flush=True)
        measured = importlib.import_module(f"benchmarks.{name}").measure(settings)
        record = {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "versions": versions(),
            "settings": settings.name,
            name: measured,
        }
        write_text(json.dumps(record, indent=1) + "\n", Path(folder) / f"{name}.json")


def read_record(name, folder=FOLDER):
    """Return a benchmark's record, or None if it is missing."""
    path = Path(folder) / f"{name}.json"
    if not path.is_file():
        return None
    return json.loads(path.read_text(encoding="utf-8"))


def main():
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=[], help=", ".join(BENCHMARKS))
    parser.add_argument("--settings", choices=SETTINGS, default="full")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown benchmark: {', '.join(unknown)}")
    folder = FOLDER if arguments.settings == "full" else "results/bench"
    run(arguments.names or BENCHMARKS, SETTINGS[arguments.settings], folder)


if __name__ == "__main__":
    main()
