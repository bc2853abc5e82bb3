"""One run for each output folder."""

import json
import os
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import PART, check_folder, write_text, writing

LOCK = ".lock"
HOLDER = ".running.json"

_held = []


def lock_folder(folder: Path, command: str) -> None:
    """Keep an output folder for this process, until `release_folders` or its end.

    The operating system lets go of the lock when the process ends, however it does.

    Arguments
    ---------
    folder : str or Path
        Made when missing.
    command : str
        What is run, for whoever is refused.

    Raises
    ------
    InputError
        When another process has it, naming that; or when nothing can be written there.
    """
    folder = Path(folder)
    check_folder(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = FileLock(folder / LOCK)
    holder = {
        "process": os.getpid(),
        "host": platform.node(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": command,
    }
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"{folder} is in use by {_holder(folder)}. Wait for it or stop it, or "
                "take another --output_folder"
            ) from None
        _held.append((lock, folder, made))
        for left in folder.rglob(f"{PART}*"):  # of a run that was killed
            # And no recording of a user whose name begins alike.
            if re.match(rf"{re.escape(PART)}\d+\.", left.name) and left.is_file():
                left.unlink()
        write_text(json.dumps(holder) + "\n", folder / HOLDER)


@contextmanager
def locked(folder: Path, command: str) -> Iterator[None]:
    """Keep an output folder for a while; see `lock_folder`."""
    lock_folder(folder, command)
    try:
        yield
    finally:
        release_folders()


def release_folders() -> None:
    """Let go of all folders; those that were made and are empty are removed."""
    while _held:
        lock, folder, made = _held.pop()
        (folder / HOLDER).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # another one may have it already
            (folder / LOCK).unlink(missing_ok=True)
        for path in made:
            with suppress(OSError):  # what is not empty stays
                path.rmdir()


def _holder(folder):
    """Who has a folder, in words."""
    try:
        holder = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "another process"
    return (
        f"process {holder['process']} on {holder['host']}, since {holder['since']}: "
        f"{holder['command']}"
    )
