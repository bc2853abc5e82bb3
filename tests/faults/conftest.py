"""Fixtures of the tests of faults: those of the whole commands, and how many cases."""

import json
import os
from pathlib import Path

import pytest

from tests.integration.conftest import (  # noqa: F401
    call,
    classifier,
    interpreter,
    one_method,
    one_process_after_the_other,
    refused,
    run,
    short,
    tiny,
    toy,
    train_by_script,
    train_once,
    trained_classifier,
    trained_lmac,
)

RECORDS = Path(__file__).resolve().parents[2] / "results" / "faults"


@pytest.fixture(scope="session")
def n_kills():
    """How often a command is killed: 30 in `make faults`, else a few."""
    return int(os.environ.get("FAULT_KILLS", 3))


@pytest.fixture(scope="session")
def n_files():
    """How many files a command explains: 5,000 in `make faults`."""
    return int(os.environ.get("FAULT_FILES", 60))


@pytest.fixture(scope="session")
def longest_seconds():
    """The longest file that is explained: 30 minutes in `make faults`."""
    return float(os.environ.get("FAULT_SECONDS", 8))


@pytest.fixture(scope="session")
def record():
    """`record(name, **facts)`: for the page of `make faults`, and only there."""

    def record(name, **facts):
        if os.environ.get("FAULT_RECORD"):
            RECORDS.mkdir(parents=True, exist_ok=True)
            text = json.dumps(facts, indent=1) + "\n"
            (RECORDS / f"{name}.json").write_text(text, encoding="utf-8")

    return record
