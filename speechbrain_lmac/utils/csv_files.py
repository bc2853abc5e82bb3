"""Tables as csv files, whose text no spreadsheet calculates."""

import re
from pathlib import Path

import pandas as pd

from speechbrain_lmac.utils.escaping import escape
from speechbrain_lmac.utils.files import write_atomically

MISSING = "nan"  # in a csv
# Text that a spreadsheet takes for a formula, or `read_csv` for a missing value, and
# the apostrophes that may stand before it already.
_GUARDED = re.compile(rf"'*([=+\-@\t\r]|{MISSING}$)")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]inf", re.IGNORECASE)
# What no csv in UTF-8 holds: csv.writer leaves a carriage return without quotes.
_NO_TEXT = re.compile("[\0\ud800-\udfff]|\r(?!\n)")


def csv_cell(value: bool | str) -> bool | str:
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


def cell_text(cell: str) -> str:
    """Return the text that `csv_cell` wrote.

    Example
    -------
    >>> cell_text("'=1+1"), cell_text("'tis"), cell_text("-0.5")
    ('=1+1', "'tis", '-0.5')
    """
    guarded = isinstance(cell, str) and cell[:1] == "'" and _GUARDED.match(cell)
    return cell[1:] if guarded else cell


def csv_text(frame: pd.DataFrame, file: Path | None = None):
    """A pandas DataFrame as csv without index, a text or a file; see `csv_cell`."""
    table = frame.rename(columns=csv_cell)
    for place, kind in enumerate(table.dtypes):  # two columns may have one name
        if kind.kind not in "biuf":  # text, or what has some
            cells = table.iloc[:, place].map(csv_cell, na_action="ignore")
            table.isetitem(place, cells)
    return table.to_csv(file, index=False, na_rep=MISSING)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a pandas DataFrame without its index, atomically; see `csv_cell`."""
    write_atomically(path, lambda part: csv_text(frame, part))


def read_csv(
    path: Path, text: list[str] | tuple[str, ...] = (), **options
) -> pd.DataFrame:
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
