"""explanations.csv, written row by row.

A row comes after the line of the record (`batches.record`) that says that its file is
finished: what a kill leaves out of the table is put in by the next call, and what it
leaves by halves is known and is written anew.
"""

import csv
import io
import os
from pathlib import Path

import pandas as pd

from speechbrain_lmac.inference.batches.names import LONGEST_NAME, name_key, numbered
from speechbrain_lmac.inference.batches.record import (
    RECORD,
    Explained,
    Record,
    outputs_of,
)
from speechbrain_lmac.utils.csv_files import MISSING, cell_text, csv_cell, read_csv
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.escaping import in_utf8
from speechbrain_lmac.utils.files import append_text, write_atomically
from speechbrain_lmac.utils.locks import HOLDER, LOCK

TABLE = "explanations.csv"
# Columns that are text whatever stands in them.
TEXT = ("name", "file", "predicted", "explained", "prompt", "channel")


class ExplanationTable:
    """The table of a folder. The folder must be locked for all that writes.

    Arguments
    ---------
    folder : str or Path

    Raises
    ------
    InputError
        When there is a table that is none of explanations.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.record = Record(folder)
        names = self.record.names()
        self.columns, self.rows = _read_table(self.folder / TABLE, names)
        self.taken = {name_key(name) for name in (*names, *self.rows)}

    def outputs(self) -> set[str]:
        """The names of all files in the folder that belong to the table."""
        names = {TABLE, RECORD, LOCK, HOLDER}
        recorded = self.record.names()
        for known in self.record.lines():
            names.update(known.files)
            if not known.rows:  # it was killed in between
                names.update(n for part in known.parts for n in outputs_of(part))
        for part in self.rows:
            if part not in recorded:
                names.update(outputs_of(part))
        return names

    def repair(self) -> None:
        """Put in the rows that a kill left out, and take off what it tore."""
        missing = [
            row
            for known in self.record.lines()
            for row in known.rows
            if row["name"] not in self.rows
        ]
        self.rows |= {row["name"]: row for row in missing}
        self._fit_columns(missing)
        path = self.folder / TABLE
        if missing or (path.is_file() and self.text() != _text_of(path)):
            self._write()
        self.record.mend()

    def find(self, path: str, settings: str, endings: list[str] = ()) -> tuple:
        """What is finished of a file with these settings, or None.

        Arguments
        ---------
        path : str
        settings : str
            A fingerprint.
        endings : sequence of str
            Of files that must be there, as ".png"; those that were written must too.

        Returns
        -------
        source : Source
        known : Explained or None
        """
        source = self.record.source(path, settings)
        known = self.record.get(source)
        if known is None or not known.rows:
            return source, None
        files = {*known.files, *(p + e for p in known.parts for e in endings)}
        whole = all((self.folder / name).is_file() for name in files)
        return source, known if whole else None

    def begin(self, source, stem: str, slugs: list[str]) -> list[str]:
        """Choose the names of a file's explanations, and note that they are written.

        Arguments
        ---------
        source : Source
        stem : str
            How the names begin, if they are free.
        slugs : list of str
            Of its prompts; of an explanation of a class [""].

        Returns
        -------
        parts : list of str
            The names: those that it had, if it was explained or begun before; else new
            ones, so that no file in the folder is overwritten.
        """
        known = self.record.get(source)
        if known is not None and len(known.parts) == len(slugs):
            return known.parts
        behind = [f"_{slug}" if slug else "" for slug in slugs]

        def is_free(name: str) -> bool:
            parts = [name + b for b in behind]
            return not any(
                name_key(part) in self.taken
                or any(os.path.lexists(self.folder / n) for n in outputs_of(part))
                for part in parts
            )

        room = LONGEST_NAME - max(len(b) for b in behind)
        name = numbered(stem, is_free, room)
        parts = [name + b for b in behind]
        self.record.note(Explained(source, parts, [], []))
        self.taken.update(map(name_key, parts))
        return parts

    def finish(self, source, parts: list[str], rows: list) -> None:
        """Note that a file's explanations are written, and put its rows in the table.

        Arguments
        ---------
        source : Source
        parts : list of str
            Of `begin`.
        rows : list of dict
            As `row()` of an explanation gives them.
        """
        rows = [{"name": n, **row} for n, row in zip(parts, rows, strict=True)]
        cells = [{key: _text(value) for key, value in row.items()} for row in rows]
        names = [name for part in parts for name in outputs_of(part)]
        files = [name for name in names if (self.folder / name).is_file()]
        self.record.note(Explained(source, parts, cells, files))
        new = [row for row in cells if self.rows.get(row["name"]) != row]
        replaced = any(row["name"] in self.rows for row in new)
        self.rows |= {row["name"]: row for row in new}
        if self._fit_columns(new) or replaced:
            self._write()
        elif new:
            append_text(_csv_lines(self.columns, new), self.folder / TABLE)

    def abandon(self, source, parts: list[str]) -> None:
        """Remove what was written of a file that could not be explained after all.

        Unless it was explained before: its rows and names stay.
        """
        known = self.record.get(source)
        if known is not None and not known.rows:
            for name in [name for part in parts for name in outputs_of(part)]:
                (self.folder / name).unlink(missing_ok=True)
            self.record.forget(source)
            self.taken.difference_update(map(name_key, parts))

    def sort(self, parts: list[str]) -> None:
        """Bring the rows of these names into this order, in the places that they have.

        Rows of other calls stay where they are.
        """
        parts = [part for part in parts if part in self.rows]
        own, ordered = set(parts), iter(parts)
        order = [next(ordered) if name in own else name for name in self.rows]
        if order != list(self.rows):
            self.rows = {name: self.rows[name] for name in order}
            self._write()

    def frame(self) -> pd.DataFrame:
        """The table."""
        import pandas as pd  # it takes a while

        path = self.folder / TABLE
        return read_csv(path, TEXT) if path.is_file() else pd.DataFrame()

    def text(self) -> str:
        """The content of the table."""
        if not self.columns:
            return ""
        head = {column: column for column in self.columns}
        return _csv_lines(self.columns, [head, *self.rows.values()])

    def _fit_columns(self, rows: list) -> bool:
        """Take in the columns of rows; whether the file must be written anew."""
        more = [c for row in rows for c in row if c not in self.columns]
        self.columns += dict.fromkeys(more)
        return bool(more)

    def _write(self) -> None:
        write_atomically(
            self.folder / TABLE,
            lambda part: part.write_text(self.text(), encoding="utf-8", newline=""),
        )


def _csv_lines(columns: list[str], rows: list) -> str:
    """Rows as lines of csv; a cell that is not there is nan."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    for row in rows:
        writer.writerow([csv_cell(row.get(column)) for column in columns])
    return stream.getvalue()


def _text(value) -> str:
    """A cell as it will be read again."""
    if isinstance(value, str):
        return cell_text(csv_cell(in_utf8(value)))
    return None if value is None or value != value else str(value)


def _text_of(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def _read_table(path: Path, recorded: set[str]) -> tuple:
    """The columns, and the rows by name.

    A last line without an end may be torn: it is left out if it is in the record, or is
    too short for a row.
    """
    if not path.is_file():
        return [], {}
    try:
        text = path.read_bytes().decode("utf-8-sig")
        whole, newline, last = text.rpartition("\n")
        columns, *lines = _csv_rows(whole + newline) or [[]]
        torn = _csv_rows(last) if last.count('"') % 2 == 0 else []
        if torn and len(torn[0]) == len(columns) and torn[0][0] not in recorded:
            lines += torn
    except (OSError, ValueError, csv.Error) as error:
        raise _no_table(path, error) from error
    if "name" not in columns:
        raise _no_table(path, "it has no column `name`")
    if any(len(line) != len(columns) for line in lines):
        raise _no_table(path, "its rows are not all of one length")
    rows = [dict(zip(columns, line, strict=True)) for line in lines]
    by_name = {row["name"]: row for row in rows}
    if len(by_name) < len(rows):
        raise _no_table(path, "two rows have the same name")
    return columns, by_name


def _csv_rows(text: str) -> list:
    """The cells of each line of a csv that is not empty."""
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    return [[_read_cell(cell) for cell in line] for line in lines if line]


def _read_cell(cell: str) -> str:
    """The text of a cell, None for what is missing."""
    return None if cell == MISSING else cell_text(cell)


def _no_table(path: Path, why) -> InputError:
    return InputError(
        f"{path} is no table of explanations that could be continued ({why}): move it, "
        "or take another output folder"
    )
