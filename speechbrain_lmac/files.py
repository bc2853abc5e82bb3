"""Files that are whole or not there."""

import errno
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

from speechbrain_lmac.errors import InputError

ELSEWHERE = "take another output folder"
# Of a write that the machine refused, and what to do.
REFUSED = {
    errno.ENOSPC: "the disk is full: make space, then run the same command again",
    errno.EDQUOT: "the quota is used up: make space, then run the same command again",
    errno.EROFS: f"it can only be read: {ELSEWHERE}",
    errno.EACCES: f"it may not be written to: {ELSEWHERE}",
    errno.EPERM: f"it may not be written to: {ELSEWHERE}",
    errno.ENOTDIR: f"a file stands where a folder is needed: {ELSEWHERE}",
    errno.EEXIST: f"a file stands where a folder is needed: {ELSEWHERE}",
    errno.EISDIR: "it is a folder: name a file",
}
PART = ".part"  # how the name of a file begins that is being written
LEAST_FREE = 1 << 20  # bytes; a library that could not write does not say why


class CannotWriteError(InputError):
    """The disk is full, or nothing may be written there: no file can be."""


def check_folder(folder):
    """Raise `InputError` if a file stands where a folder is needed.

    Arguments
    ---------
    folder : str or Path
        That is written to.
    """
    for path in (Path(folder), *Path(folder).parents):
        if os.path.lexists(path) and not path.is_dir():
            raise CannotWriteError(
                f"cannot write {folder}: {path} is a file: {ELSEWHERE}"
            )


@contextmanager
def writing(path):
    """Where something is written: tell the user when the machine refuses it.

    Arguments
    ---------
    path : str or Path
        What is written, or its folder.

    Raises
    ------
    CannotWriteError
        When the disk is full, or nothing may be written there.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = why_refused(error, path)
        if reason is None:
            raise
        raise CannotWriteError(reason) from error


def why_refused(error, path):
    """What a user is told of a write that the machine refused.

    Arguments
    ---------
    error : Exception
    path : str or Path
        What was to be written, or its folder.

    Returns
    -------
    reason : str or None
        None if the error speaks of something else.
    """
    reason = REFUSED.get(getattr(error, "errno", None))
    if reason is None and not isinstance(error, FileNotFoundError):
        place = next(p for p in (Path(path), *Path(path).parents) if p.exists())
        if shutil.disk_usage(place).free < LEAST_FREE:
            reason = REFUSED[errno.ENOSPC]
    return None if reason is None else f"cannot write {path}: {reason}"


def write_atomically(path, write):
    """Let `write` make a file beside `path`, then put it in its place.

    Arguments
    ---------
    path : str or Path
        Its folder is made when missing.
    write : callable
        Gets the path of the file to write, which ends as `path` does.

    Raises
    ------
    CannotWriteError
        When the disk is full, or nothing may be written there.
    """
    path = Path(path)
    part = path.with_name(f"{PART}{os.getpid()}.{path.name}")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write(part)
            os.replace(part, path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def csv_text(frame, file=None):
    """A pandas DataFrame as csv without its index: a text, or written to a file."""
    return frame.to_csv(file, index=False, na_rep="nan")


def write_csv(frame, path):
    """A pandas DataFrame as csv without its index, atomically."""
    write_atomically(path, lambda part: csv_text(frame, part))


def write_text(text, path):
    """A text in UTF-8, atomically."""
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def append_text(text, path):
    """Append a text in UTF-8 to a file; what a full disk tears is taken off again.

    Raises
    ------
    CannotWriteError
        As `write_atomically`.
    """
    with writing(path), open(path, "ab", buffering=0) as file:
        before, data = os.fstat(file.fileno()).st_size, text.encode()
        try:
            while data:
                data = data[file.write(data) :]
        except BaseException:
            os.ftruncate(file.fileno(), before)
            raise
