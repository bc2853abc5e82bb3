"""Files that are whole or not there."""

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

from speechbrain_lmac.errors import InputError

# Of a write that the machine refused, and what to do.
REFUSED = {
    errno.ENOSPC: "the disk is full: make space, then run the same command again",
    errno.EDQUOT: "the quota is used up: make space, then run the same command again",
    errno.EROFS: "it can only be read: take another output folder",
    errno.EACCES: "it may not be written to: take another output folder",
    errno.EPERM: "it may not be written to: take another output folder",
}
PART = ".part"  # how the name of a file begins that is being written
LEAST_FREE = 1 << 20  # bytes; a library that could not write does not say why


def cannot_write(error, path):
    """What a user is told when the machine refused a write.

    Arguments
    ---------
    error : Exception
    path : str or Path
        What was to be written, or its folder.

    Returns
    -------
    error : Exception
        An InputError, or the same error if it speaks of something else.
    """
    if isinstance(error, InputError):
        return error
    reason = REFUSED.get(getattr(error, "errno", None))
    if reason is None and not isinstance(error, FileNotFoundError):
        place = next(p for p in (Path(path), *Path(path).parents) if p.exists())
        if shutil.disk_usage(place).free < LEAST_FREE:
            reason = REFUSED[errno.ENOSPC]
    if reason is None:
        return error
    return InputError(f"cannot write {path}: {reason}")


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
    InputError
        When the disk is full, or nothing may be written there.
    """
    path = Path(path)
    part = path.with_name(f"{PART}{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        os.replace(part, path)
    except (OSError, RuntimeError) as error:
        raise cannot_write(error, path) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_csv(frame, path):
    """A pandas DataFrame as csv without its index, atomically."""
    write_atomically(path, lambda part: frame.to_csv(part, index=False, na_rep="nan"))


def write_text(text, path):
    """A text in UTF-8, atomically."""
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))
