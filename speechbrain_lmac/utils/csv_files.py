"""CSV tables that are safe to open in a spreadsheet."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechbrain_lmac.utils.escaping import escape
from speechbrain_lmac.utils.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

MISSING = "nan"  # in a CSV
# After any number of apostrophes: the start of a spreadsheet formula, or a missing
# value for `read_csv`.
_GUARDED = re.compile(rf"'*([=+\-@\t\r]|{MISSING}$)")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]inf", re.IGNORECASE)
# Characters that a UTF-8 CSV cannot hold; csv.writer does not quote a lone "\r".
_INVALID = re.compile("[\0\ud800-\udfff]|\r(?!\n)")


def csv_cell(value: Any) -> Any:
    """Return a value as it is written in a CSV file.

    Text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return, which a
    spreadsheet would evaluate as a formula, gets a leading apostrophe. Numbers, also
    as text, are unchanged; None is `nan`. `cell_text` is the inverse.

    Example
    -------
    >>> csv_cell("=1+1"), csv_cell("-0.5"), csv_cell("dog"), csv_cell(-0.5)
    ("'=1+1", '-0.5', 'dog', -0.5)
    """
    if not isinstance(value, str):
        return MISSING if value is None else value
    value = _INVALID.sub(lambda found: escape(found[0]), value)
    if _GUARDED.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def cell_text(cell: Any) -> Any:
    """Return the text of a cell that `csv_cell` wrote; other values are unchanged.

    Example
    -------
    >>> cell_text("'=1+1"), cell_text("'tis"), cell_text("-0.5")
    ('=1+1', "'tis", '-0.5')
    """
    guarded = isinstance(cell, str) and cell[:1] == "'" and _GUARDED.match(cell)
    return cell[1:] if guarded else cell


def csv_text(frame: "pd.DataFrame", file: Path | None = None) -> str | None:
    """Return a table as CSV without index, or write it to `file`; see `csv_cell`."""
    table = frame.rename(columns=csv_cell)
    for index, dtype in enumerate(table.dtypes):  # column names may repeat
        if dtype.kind not in "biuf":  # text, or mixed
            cells = table.iloc[:, index].map(csv_cell, na_action="ignore")
            table.isetitem(index, cells)
    return table.to_csv(file, index=False, na_rep=MISSING)


def write_csv(frame: "pd.DataFrame", path: Path | str) -> None:
    """Write a table without its index, atomically; see `csv_cell`."""
    write_atomically(path, lambda part: csv_text(frame, part))


def read_csv(
    path: Path | str, text: Iterable[str] = (), **options: Any
) -> "pd.DataFrame":
    """Read a table that `write_csv` wrote.

    Arguments
    ---------
    path : str or Path
    text : iterable of str
        Columns that are text even where they look like numbers, such as class labels.
    **options
        Further arguments of `pandas.read_csv`.

    Returns
    -------
    frame : pandas.DataFrame
    """
    import pandas as pd  # a slow import that writing does not need

    options = {"dtype": dict.fromkeys(text, str), **options}
    frame = pd.read_csv(path, keep_default_na=False, na_values=[MISSING], **options)
    frame = frame.rename(columns=cell_text)
    for name, dtype in frame.dtypes.items():
        if dtype.kind not in "biuf":
            frame[name] = frame[name].map(cell_text, na_action="ignore")
    return frame
