"""explanations.csv, written row by row, and what is known of the files behind it.

Beside the table lies `.explained.jsonl`, a JSON object in each line: which file was
explained, with which model and options, under which name, and what was written. A line
says first that writing begins, and a second one that all is there, with the rows. The
row comes after that line: what a kill leaves out of the table is put in by the next
call, and what it leaves by halves is known and is written anew.
"""

import csv
import io
import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from speechbrain_lmac.batches.names import (
    LONGEST_NAME,
    file_stem,
    in_utf8,
    name_key,
    numbered,
)
from speechbrain_lmac.errors import InputError
from speechbrain_lmac.files import csv_text, write_atomically, writing
from speechbrain_lmac.fingerprints import file_hash
from speechbrain_lmac.locks import HOLDER, LOCK

TABLE = "explanations.csv"
RECORD = ".explained.jsonl"
# What is written of an explanation, behind its name.
ENDINGS = ("_input.wav", "_explanation.wav", "_rest.wav", "_windows.csv")
ENDINGS += (".png", ".pdf", ".svg")


@dataclass(frozen=True)
class Source:
    """A file that is explained, and how: what tells whether it was before."""

    path: str  # absolute
    size: int  # bytes
    time: int  # of its last change, ns
    content: str  # a hash
    settings: str  # a fingerprint of the model and of the options

    @classmethod
    def of(cls, path, settings):
        """Of a file; raises OSError where it cannot be read."""
        status = os.stat(path)
        return cls(
            os.path.abspath(path),
            status.st_size,
            status.st_mtime_ns,
            file_hash(path),
            settings,
        )


@dataclass(frozen=True)
class Explained:
    """A line of the record."""

    source: Source
    parts: list  # names of its explanations, one for each prompt
    rows: list  # of the table, texts of the cells by column; empty: not finished
    files: list  # what was written, names

    def line(self):
        """As JSON, of ASCII."""
        return json.dumps(asdict(self)) + "\n"


def outputs_of(part):
    """The names of all files that an explanation may have."""
    return [part + ending for ending in ENDINGS]


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

    def __init__(self, folder):
        self.folder = Path(folder)
        self.record = {}  # source without its time -> Explained
        self.sources = {}  # path -> sources
        self.taken = set()
        for known in _read_record(self.folder / RECORD):
            self._remember(known)
        self.columns, self.rows = _read_table(self.folder / TABLE, self.recorded())
        self.taken.update(map(name_key, self.rows))

    def _remember(self, known):
        self.record[_identity(known.source)] = known
        self.sources.setdefault(known.source.path, []).append(known.source)
        self.taken.update(map(name_key, known.parts))

    def recorded(self):
        """The names of all explanations that the record knows."""
        return {part for known in self.record.values() for part in known.parts}

    def outputs(self):
        """The names of all files in the folder that belong to the table."""
        names = {TABLE, RECORD, LOCK, HOLDER}
        recorded = self.recorded()
        for known in self.record.values():
            names.update(known.files)
            if not known.rows:  # it was killed in between
                names.update(n for part in known.parts for n in outputs_of(part))
        for part in self.rows:
            if part not in recorded:
                names.update(outputs_of(part))
        return names

    def repair(self):
        """Put in the rows that a kill left out, and take off what it tore."""
        missing = [
            row
            for known in self.record.values()
            for row in known.rows
            if row["name"] not in self.rows
        ]
        self.rows |= {row["name"]: row for row in missing}
        self._fit_columns(missing)
        path = self.folder / TABLE
        if missing or (path.is_file() and self.text() != _text_of(path)):
            self._write()
        record = self.folder / RECORD
        if record.is_file() and record.read_bytes()[-1:] not in (b"", b"\n"):
            self._append(RECORD, "\n")

    def find(self, path, settings, endings=()):
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
        source = self._source(path, settings)
        known = self.record.get(_identity(source))
        if known is None or not known.rows:
            return source, None
        files = {*known.files, *(p + e for p in known.parts for e in endings)}
        whole = all((self.folder / name).is_file() for name in files)
        return source, known if whole else None

    def _source(self, path, settings):
        """`Source.of`, without reading a file whose size and time did not change."""
        status, path = os.stat(path), os.path.abspath(path)
        for known in self.sources.get(path, ()):
            if (known.size, known.time) == (status.st_size, status.st_mtime_ns):
                return replace(known, settings=settings)
        return Source.of(path, settings)

    def begin(self, source, slugs):
        """Choose the names of a file's explanations, and note that they are written.

        Arguments
        ---------
        source : Source
        slugs : list of str
            Of its prompts; of an explanation of a class [""].

        Returns
        -------
        parts : list of str
            The names: those that it had, if it was explained or begun before; else new
            ones, so that no file in the folder is overwritten.
        """
        known = self.record.get(_identity(source))
        if known is not None and len(known.parts) == len(slugs):
            return known.parts
        behind = [f"_{slug}" if slug else "" for slug in slugs]

        def is_free(name):
            parts = [name + b for b in behind]
            return not any(
                name_key(part) in self.taken
                or any(os.path.lexists(self.folder / n) for n in outputs_of(part))
                for part in parts
            )

        room = LONGEST_NAME - max(len(b) for b in behind)
        name = numbered(file_stem(source.path), is_free, room)
        begun = Explained(source, [name + b for b in behind], [], [])
        self._note(begun)
        return begun.parts

    def finish(self, source, parts, rows):
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
        text = csv_text(pd.DataFrame(rows).map(_text))
        cells = list(csv.DictReader(io.StringIO(text, newline="")))
        names = [name for part in parts for name in outputs_of(part)]
        files = [name for name in names if (self.folder / name).is_file()]
        self._note(Explained(source, parts, cells, files))
        new = [row for row in cells if self.rows.get(row["name"]) != row]
        replaced = any(row["name"] in self.rows for row in new)
        self.rows |= {row["name"]: row for row in new}
        if self._fit_columns(new) or replaced:
            self._write()
        elif new:
            self._append(TABLE, _csv_lines(self.columns, new))

    def abandon(self, source, parts):
        """Remove what was written of a file that could not be explained after all.

        Unless it was explained before: its rows and names stay.
        """
        known = self.record.get(_identity(source))
        if known is not None and not known.rows:
            for name in [name for part in parts for name in outputs_of(part)]:
                (self.folder / name).unlink(missing_ok=True)

    def sort(self, parts):
        """Bring the rows of these names into this order, in the places that they have.

        Rows of other calls stay where they are.
        """
        parts = [part for part in parts if part in self.rows]
        own, ordered = set(parts), iter(parts)
        order = [next(ordered) if name in own else name for name in self.rows]
        if order != list(self.rows):
            self.rows = {name: self.rows[name] for name in order}
            self._write()

    def frame(self):
        """The table."""
        path = self.folder / TABLE
        return pd.read_csv(path) if path.is_file() else pd.DataFrame()

    def text(self):
        """The content of the table."""
        if not self.columns:
            return ""
        head = {column: column for column in self.columns}
        return _csv_lines(self.columns, [head, *self.rows.values()])

    def _fit_columns(self, rows):
        """Take in the columns of rows; whether the file must be written anew."""
        more = [c for row in rows for c in row if c not in self.columns]
        self.columns += dict.fromkeys(more)
        return bool(more)

    def _write(self):
        write_atomically(
            self.folder / TABLE,
            lambda part: part.write_text(self.text(), encoding="utf-8", newline=""),
        )

    def _note(self, known):
        self._append(RECORD, known.line())
        self._remember(known)

    def _append(self, name, text):
        """Append lines to a file; what a full disk tears is taken off again."""
        path = self.folder / name
        with writing(path), open(path, "ab", buffering=0) as file:
            before, data = os.fstat(file.fileno()).st_size, text.encode()
            try:
                while data:
                    data = data[file.write(data) :]
            except BaseException:
                os.ftruncate(file.fileno(), before)
                raise


def _identity(source):
    """What of a source must be equal: a time of change alone changes nothing."""
    return source.path, source.size, source.content, source.settings


def _csv_lines(columns, rows):
    """Rows as lines of csv; a cell that is not there is nan."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([row.get(column, "nan") for column in columns] for row in rows)
    return stream.getvalue()


def _text(value):
    return in_utf8(value) if isinstance(value, str) else value


def _text_of(path):
    return path.read_bytes().decode("utf-8", "replace")


def _read_table(path, recorded):
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


def _csv_rows(text):
    """The cells of each line of a csv that is not empty."""
    return list(filter(None, csv.reader(io.StringIO(text, newline=""), strict=True)))


def _no_table(path, why):
    return InputError(
        f"{path} is no table of explanations that could be continued ({why}): move it, "
        "or take another output folder"
    )


def _read_record(path):
    """The lines that can be read; the last one may be torn."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            known = json.loads(line)
            known = Explained(**{**known, "source": Source(**known["source"])})
            if _is_sound(known):
                yield known
        except (ValueError, TypeError, KeyError, AttributeError):
            continue


def _is_sound(known):
    """Whether a line of a record, which may be a stranger's, stays in its folder."""
    names = [*known.parts, *known.files, *(row["name"] for row in known.rows)]
    plain = all(name and os.path.basename(name) == name for name in names)
    texts = all(isinstance(cell, str) for row in known.rows for cell in row.values())
    hash(known.source)
    return plain and texts and len(known.rows) in (0, len(known.parts))
