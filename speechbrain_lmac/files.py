"""Files that are whole or not there."""

import os
from pathlib import Path


def write_atomically(path, write):
    """Let `write` make a file beside `path`, then put it in its place.

    Arguments
    ---------
    path : str or Path
        Its folder is made when missing.
    write : callable
        Gets the path of the file to write, which ends as `path` does.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part{os.getpid()}.{path.name}")
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_csv(frame, path):
    """A pandas DataFrame as csv without its index, atomically."""
    write_atomically(path, lambda part: frame.to_csv(part, index=False, na_rep="nan"))


def write_text(text, path):
    """A text in UTF-8, atomically."""
    write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))
