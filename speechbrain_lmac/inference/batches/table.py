"""The table of explanations, `explanations.csv`, written row by row.

A row is written after the record (`batches.record`) marks its file as finished. After
an interrupted run, the next one adds missing rows and redoes unfinished files.
"""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechbrain_lmac.inference.batches.names import LONGEST_NAME, name_key, numbered
from speechbrain_lmac.inference.batches.record import (
    RECORD,
    Entry,
    Record,
    Source,
    outputs_of,
)
from speechbrain_lmac.utils.csv_files import MISSING, cell_text, csv_cell, read_csv
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.escaping import in_utf8
from speechbrain_lmac.utils.files import append_text, write_atomically
from speechbrain_lmac.utils.locks import HOLDER, LOCK

if TYPE_CHECKING:
    import pandas as pd

TABLE = "explanations.csv"
Cells = dict[str, str | None]  # column to the text of a cell; None: missing
# Columns that are always text.
TEXT = ("name", "file", "predicted", "explained", "prompt", "channel")


class ExplanationTable:
    """The table of explanations in a folder. Lock the folder before any write.

    Arguments
    ---------
    folder : str or Path

    Raises
    ------
    InputError
        When the file is not a table of explanations.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.record = Record(folder)
        names = self.record.names()
        self.columns, self.rows = _read_table(self.folder / TABLE, names)
        self.taken = {name_key(name) for name in (*names, *self.rows)}

    def outputs(self) -> set[str]:
        """Return the names of all files in the folder that belong to the table."""
        names = {TABLE, RECORD, LOCK, HOLDER}
        recorded = self.record.names()
        for entry in self.record.entries():
            names.update(entry.files)
            if not entry.rows:  # interrupted
                names.update(n for part in entry.parts for n in outputs_of(part))
        for part in self.rows:
            if part not in recorded:
                names.update(outputs_of(part))
        return names

    def repair(self) -> None:
        """Add rows missing after an interrupted run, and drop an incomplete line."""
        missing = [
            row
            for entry in self.record.entries()
            for row in entry.rows
            if row["name"] not in self.rows
        ]
        self.rows |= _by_name(missing)
        self._fit_columns(missing)
        path = self.folder / TABLE
        if missing or (path.is_file() and self.text() != _text_of(path)):
            self._write()
        self.record.mend()

    def find(
        self, path: str, settings: str, endings: Sequence[str] = ()
    ) -> tuple[Source, Entry | None]:
        """Find the finished entry of a file with these settings.

        Arguments
        ---------
        path : str
            The explained audio file.
        settings : str
            Fingerprint of the model and the options.
        endings : sequence of str
            Suffixes of files that must exist, e.g. ".png", besides those of the entry.

        Returns
        -------
        source : Source
        entry : Entry or None
            None if the file was not explained or not finished, or if an output is
            missing.
        """
        source = self.record.source(path, settings)
        entry = self.record.get(source)
        if entry is None or not entry.rows:
            return source, None
        files = {*entry.files, *(p + e for p in entry.parts for e in endings)}
        complete = all((self.folder / name).is_file() for name in files)
        return source, entry if complete else None

    def begin(self, source: Source, stem: str, slugs: list[str]) -> list[str]:
        """Choose names for a file's explanations, and record that writing starts.

        Arguments
        ---------
        source : Source
        stem : str
            Preferred prefix of the names; numbered if taken.
        slugs : list of str
            File-name parts for its prompts; [""] when a class is explained.

        Returns
        -------
        parts : list of str
            The names; those of an earlier run if there was one, otherwise new ones that
            overwrite no file in the folder.
        """
        entry = self.record.get(source)
        if entry is not None and len(entry.parts) == len(slugs):
            return entry.parts
        suffixes = [f"_{slug}" if slug else "" for slug in slugs]

        def is_free(name: str) -> bool:
            parts = [name + suffix for suffix in suffixes]
            return not any(
                name_key(part) in self.taken
                or any(os.path.lexists(self.folder / n) for n in outputs_of(part))
                for part in parts
            )

        n_bytes = LONGEST_NAME - max(len(suffix) for suffix in suffixes)
        name = numbered(stem, is_free, n_bytes)
        parts = [name + suffix for suffix in suffixes]
        self.record.add(Entry(source, parts, [], []))
        self.taken.update(map(name_key, parts))
        return parts

    def finish(
        self, source: Source, parts: list[str], rows: list[dict[str, Any]]
    ) -> None:
        """Record that a file is finished, and add its rows to the table.

        Arguments
        ---------
        source : Source
        parts : list of str
            From `begin`.
        rows : list of dict
            Row of each explanation, column to value (`results.FileScores.row`).
        """
        rows = [{"name": n, **row} for n, row in zip(parts, rows, strict=True)]
        cells = [{key: _text(value) for key, value in row.items()} for row in rows]
        names = [name for part in parts for name in outputs_of(part)]
        files = [name for name in names if (self.folder / name).is_file()]
        self.record.add(Entry(source, parts, cells, files))
        new = {
            name: row
            for name, row in _by_name(cells).items()
            if self.rows.get(name) != row
        }
        replaced = any(name in self.rows for name in new)
        self.rows |= new
        if self._fit_columns(new.values()) or replaced:
            self._write()
        elif new:
            append_text(_csv_lines(self.columns, new.values()), self.folder / TABLE)

    def abandon(self, source: Source, parts: list[str]) -> None:
        """Remove the files and names of an explanation that failed before `finish`.

        If an earlier run has finished the file, everything is kept.
        """
        entry = self.record.get(source)
        if entry is not None and not entry.rows:
            for name in [name for part in parts for name in outputs_of(part)]:
                (self.folder / name).unlink(missing_ok=True)
            self.record.forget(source)
            self.taken.difference_update(map(name_key, parts))

    def sort(self, parts: list[str]) -> None:
        """Put the rows with these names in this order.

        They share the positions that they had; all other rows keep theirs.
        """
        parts = [part for part in parts if part in self.rows]
        own, ordered = set(parts), iter(parts)
        order = [next(ordered) if name in own else name for name in self.rows]
        if order != list(self.rows):
            self.rows = {name: self.rows[name] for name in order}
            self._write()

    def frame(self) -> "pd.DataFrame":
        """Return the table as a DataFrame."""
        import pandas as pd  # slow

        path = self.folder / TABLE
        return read_csv(path, TEXT) if path.is_file() else pd.DataFrame()

    def text(self) -> str:
        """Return the content of the file."""
        if not self.columns:
            return ""
        head: Cells = {column: column for column in self.columns}
        return _csv_lines(self.columns, [head, *self.rows.values()])

    def _fit_columns(self, rows: Iterable[Cells]) -> bool:
        """Add columns that rows need; return whether the file must be rewritten."""
        more = [c for row in rows for c in row if c not in self.columns]
        self.columns += dict.fromkeys(more)
        return bool(more)

    def _write(self) -> None:
        write_atomically(
            self.folder / TABLE,
            lambda part: part.write_text(self.text(), encoding="utf-8", newline=""),
        )


def _by_name(rows: Iterable[Cells]) -> dict[str, Cells]:
    """Return a dict from names to rows."""
    return {str(row["name"]): row for row in rows}


def _csv_lines(columns: list[str], rows: Iterable[Mapping[str, str | None]]) -> str:
    """Return rows as CSV lines, with nan for missing cells."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    for row in rows:
        writer.writerow([csv_cell(row.get(column)) for column in columns])
    return stream.getvalue()


def _text(value: Any) -> str | None:
    """Return the text of a cell as a reader of the file gets it; None if missing."""
    if isinstance(value, str):
        return cell_text(csv_cell(in_utf8(value)))
    return None if value is None or value != value else str(value)


def _text_of(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def _read_table(path: Path, recorded: set[str]) -> tuple[list[str], dict[str, Cells]]:
    """Return the columns, and the rows by name.

    A last line without a line break may be truncated. That line is dropped if its name
    is in the record (`repair` adds the row again), or if it has too few cells.
    """
    if not path.is_file():
        return [], {}
    try:
        text = path.read_bytes().decode("utf-8-sig")
        whole, newline, last = text.rpartition("\n")
        header, *lines = _csv_rows(whole + newline) or [[]]
        tail = _csv_rows(last) if last.count('"') % 2 == 0 else []
        if tail and len(tail[0]) == len(header) and tail[0][0] not in recorded:
            lines += tail
    except (OSError, ValueError, csv.Error) as error:
        raise _no_table(path, error) from error
    columns = [column for column in header if column is not None]
    if "name" not in columns:
        raise _no_table(path, "missing column `name`")
    if any(len(line) != len(columns) for line in (header, *lines)):
        raise _no_table(path, "rows of different lengths")
    rows = [dict(zip(columns, line, strict=True)) for line in lines]
    if any(row["name"] is None for row in rows):
        raise _no_table(path, "a row without a name")
    by_name = _by_name(rows)
    if len(by_name) < len(rows):
        raise _no_table(path, "two rows with the same name")
    return columns, by_name


def _csv_rows(text: str) -> list[list[str | None]]:
    """Return the cells of each non-empty line of CSV text."""
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    return [[_read_cell(cell) for cell in line] for line in lines if line]


def _read_cell(cell: str) -> str | None:
    """Return the text of a cell, None if missing."""
    return None if cell == MISSING else cell_text(cell)


def _no_table(path: Path, reason: object) -> InputError:
    return InputError(
        f"{path} is not a table of explanations ({reason}): move it, or use another "
        "output folder"
    )
