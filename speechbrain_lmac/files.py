"""Files that are whole or not there; tables whose text no spreadsheet calculates."""

import errno
import os
import re
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

from speechbrain_lmac.errors import InputError
from speechbrain_lmac.escaping import escape

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


MISSING = "nan"  # in a csv
# Text that a spreadsheet takes for a formula, or `read_csv` for a missing value, and
# the apostrophes that may stand before it already.
_GUARDED = re.compile(rf"'*([=+\-@\t\r]|{MISSING}$)")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]inf", re.IGNORECASE)
# What no csv in UTF-8 holds: csv.writer leaves a carriage return without quotes.
_NO_TEXT = re.compile("[\0\ud800-\udfff]|\r(?!\n)")


def csv_cell(value):
    """Return what is written of a value in a csv file.

    Text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets an
    apostrophe before it: a spreadsheet would take it for a formula. Numbers, also as
    text, are as they are. `cell_text` is the inverse.

    Example
    -------
    >>> csv_cell("=1+1"), csv_cell("-0.5"), csv_cell("dog"), csv_cell(-0.5)
    ("'=1+1", '-0.5', 'dog', -0.5)
    """
    if not isinstance(value, str):
        return MISSING if value is None else value
    value = _NO_TEXT.sub(lambda found: escape(found[0]), value)
    if _GUARDED.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def cell_text(cell):
    """Return the text that `csv_cell` wrote.

    Example
    -------
    >>> cell_text("'=1+1"), cell_text("'tis"), cell_text("-0.5")
    ('=1+1', "'tis", '-0.5')
    """
    guarded = isinstance(cell, str) and cell[:1] == "'" and _GUARDED.match(cell)
    return cell[1:] if guarded else cell


def csv_text(frame, file=None):
    """A pandas DataFrame as csv without index, a text or a file; see `csv_cell`."""
    table = frame.rename(columns=csv_cell)
    for place, kind in enumerate(table.dtypes):  # two columns may have one name
        if kind.kind not in "biuf":  # text, or what has some
            cells = table.iloc[:, place].map(csv_cell, na_action="ignore")
            table.isetitem(place, cells)
    return table.to_csv(file, index=False, na_rep=MISSING)


def write_csv(frame, path):
    """Write a pandas DataFrame without its index, atomically; see `csv_cell`."""
    write_atomically(path, lambda part: csv_text(frame, part))


def read_csv(path, text=(), **options):
    """Read a table that `write_csv` wrote.

    Arguments
    ---------
    path : str or Path
    text : sequence of str
        Columns that are text whatever stands in them, as names of classes are.
    **options
        Of `pandas.read_csv`.

    Returns
    -------
    frame : pandas.DataFrame
    """
    import pandas as pd  # what only writes does not wait for it

    options = {"dtype": dict.fromkeys(text, str), **options}
    frame = pd.read_csv(path, keep_default_na=False, na_values=[MISSING], **options)
    frame = frame.rename(columns=cell_text)
    for name, kind in frame.dtypes.items():
        if kind.kind not in "biuf":
            frame[name] = frame[name].map(cell_text, na_action="ignore")
    return frame


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
