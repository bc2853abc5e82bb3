"""Locks: one run at a time in an output folder."""

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

_locks: list[tuple[FileLock, Path, list[Path]]] = []  # lock, folder, created folders


def lock_folder(folder: Path | str, command: str) -> None:
    """Lock an output folder for this process, until `release_folders` or exit.

    The operating system releases the lock when the process ends, even by a kill.

    Arguments
    ---------
    folder : str or Path
        Created if missing.
    command : str
        The running command, for the error message of other processes.

    Raises
    ------
    InputError
        When another process has the lock, or the folder is not writable.
    """
    folder = Path(folder)
    check_folder(folder)
    created = [path for path in (folder, *folder.parents) if not path.exists()]
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
                "use another --output_folder"
            ) from None
        _locks.append((lock, folder, created))
        for path in folder.rglob(f"{PART}*"):  # partial files of a killed run
            # A user's recording may have the same prefix: it stays.
            if re.match(rf"{re.escape(PART)}\d+\.", path.name) and path.is_file():
                path.unlink()
        write_text(json.dumps(holder) + "\n", folder / HOLDER)


@contextmanager
def locked(folder: Path | str, command: str) -> Iterator[None]:
    """Lock an output folder (`lock_folder`); the exit releases all locks."""
    lock_folder(folder, command)
    try:
        yield
    finally:
        release_folders()


def release_folders() -> None:
    """Release all locks; remove the folders created for them if they are empty."""
    while _locks:
        lock, folder, created = _locks.pop()
        (folder / HOLDER).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # another process may have locked it
            (folder / LOCK).unlink(missing_ok=True)
        for path in created:
            with suppress(OSError):  # not empty
                path.rmdir()


def _holder(folder: Path) -> str:
    """Return a description of the process that has locked a folder."""
    try:
        holder = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "another process"
    return (
        f"process {holder['process']} on {holder['host']}, since {holder['since']}: "
        f"{holder['command']}"
    )
