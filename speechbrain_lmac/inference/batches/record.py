"""The record of files that are explained: `.explained.jsonl`.

A JSON object in each line: which file was explained, with which model and options,
under which names, and what was written. A first line says that writing begins, a second
one that all is there, with the rows of the table. The last line about a file counts.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from speechbrain_lmac.utils.files import CannotWriteError, append_text
from speechbrain_lmac.utils.hashing import content_hash, file_hash

RECORD = ".explained.jsonl"
# What is written of an explanation, behind its name.
ENDINGS = ("_input.wav", "_explanation.wav", "_rest.wav", "_windows.csv")
ENDINGS += (".png", ".pdf", ".svg")


@dataclass(frozen=True)
class Source:
    """A file that is explained, and how: what tells whether it was before."""

    place: str  # a hash of its absolute path, which is nobody's business
    size: int  # bytes
    time: int  # of its last change, ns
    content: str  # a hash
    settings: str  # a fingerprint of the model and of the options

    @classmethod
    def of(cls, path: str, settings: str) -> "Source":
        """Of a file; raises OSError where it cannot be read."""
        status = os.stat(path)
        return cls(
            _place(path),
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

    def line(self) -> str:
        """As JSON, of ASCII."""
        return json.dumps(asdict(self)) + "\n"


def outputs_of(part: str) -> list[str]:
    """The names of all files that an explanation may have."""
    return [part + ending for ending in ENDINGS]


class Record:
    """The lines of the record of a folder, the last one about each source.

    Arguments
    ---------
    folder : str or Path
    """

    def __init__(self, folder: Path | str):
        self.path = Path(folder) / RECORD
        self.known = {_identity(line.source): line for line in _read(self.path)}
        self.sources = {}  # place -> sources
        for line in self.known.values():
            self.sources.setdefault(line.source.place, []).append(line.source)

    def get(self, source: Source) -> Explained:
        """What is known of a source, or None."""
        return self.known.get(_identity(source))

    def lines(self):
        """All that is known."""
        return self.known.values()

    def names(self) -> set[str]:
        """The names of all explanations, those that are not finished too."""
        return {part for known in self.lines() for part in known.parts}

    def note(self, known: Explained) -> None:
        """Add a line."""
        append_text(known.line(), self.path)
        self.known[_identity(known.source)] = known
        self.sources.setdefault(known.source.place, []).append(known.source)

    def forget(self, source: Source) -> None:
        """Take back that writing begins, as long as the disk is not full."""
        with suppress(CannotWriteError):
            self.note(Explained(source, [], [], []))

    def mend(self) -> None:
        """Put an end to a line that a kill tore."""
        if self.path.is_file() and self.path.read_bytes()[-1:] not in (b"", b"\n"):
            append_text("\n", self.path)

    def source(self, path: str, settings: str) -> Source:
        """The `Source` of a file, not read anew where size and time did not change."""
        status = os.stat(path)
        for known in self.sources.get(_place(path), ()):
            if (known.size, known.time) == (status.st_size, status.st_mtime_ns):
                return replace(known, settings=settings)
        return Source.of(path, settings)


def _place(path: str) -> str:
    whole = os.fsencode(os.path.abspath(path))
    return content_hash(whole)


def _identity(source: Source) -> tuple:
    """What of a source must be equal: a time of change alone changes nothing."""
    return source.place, source.size, source.content, source.settings


def _read(path: Path) -> Iterator[Explained]:
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


def _is_sound(known: Explained) -> bool:
    """Whether a line of a record, which may be a stranger's, stays in its folder."""
    names = [*known.parts, *known.files, *(row["name"] for row in known.rows)]
    plain = all(name and os.path.basename(name) == name for name in names)
    texts = all(
        isinstance(cell, str | None) for row in known.rows for cell in row.values()
    )
    hash(known.source)
    return plain and texts and len(known.rows) in (0, len(known.parts))
