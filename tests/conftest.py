"""Fixtures of all tests, and the banner about tests that did not run."""

import os
from pathlib import Path

import pytest

NEEDS_ESC10 = "needs ESC10_FOLDER, a folder with meta/esc50.csv and audio/"


def _esc10_folder():
    """The absolute folder of real recordings, or None when there is none."""
    value = os.environ.get("ESC10_FOLDER", "")
    return Path(value).resolve() if value and Path(value).is_dir() else None


@pytest.fixture(scope="session")
def esc10_folder():
    """The user's ESC-50 or ESC-10 folder; without one the test is skipped."""
    folder = _esc10_folder()
    if folder is None:
        pytest.skip(NEEDS_ESC10)
    return folder


def pytest_collection_modifyitems(items):
    """Let ``-m esc10`` choose the tests that use the fixture."""
    for item in items:
        if "esc10_folder" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.esc10)


def pytest_terminal_summary(terminalreporter):
    """Say loudly, and last, which tests saw no real recordings."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if "esc10" in getattr(report, "keywords", ())
    ]
    if not skipped or _esc10_folder() is not None:
        return
    value = os.environ.get("ESC10_FOLDER", "")
    state = f"is not a folder: {value}" if value else "is not set"
    terminalreporter.section("NOT TESTED ON REAL RECORDINGS", sep="!", red=True)
    write = terminalreporter.write_line
    write(f"ESC10_FOLDER {state}. Tests skipped for want of it: {len(skipped)}")
    write("To run them:  make test ESC10_FOLDER=/path/to/ESC-50")
