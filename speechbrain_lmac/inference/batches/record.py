"""The record of explained files, `.explained.jsonl`.

One JSON object per line: the explained file, a fingerprint of model and options, the
names of its explanations, and the written files. Each file gets one line before its
outputs are written, and one afterwards, with its rows of the table. Only the last line
of a file counts.
"""

import json
import os
from collections.abc import Iterator, ValuesView
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from speechbrain_lmac.utils.files import CannotWriteError, append_text
from speechbrain_lmac.utils.hashing import content_hash, file_hash

RECORD = ".explained.jsonl"
# Endings of an explanation's files, after its name.
ENDINGS: tuple[str, ...] = (
    "_input.wav",
    "_explanation.wav",
    "_rest.wav",
    "_windows.csv",
)
ENDINGS += (".png", ".pdf", ".svg")


@dataclass(frozen=True)
class Source:
    """Identity of an explained file and its settings, to recognise it in later runs."""

    place: str  # hash of its absolute path, to keep the path private
    size: int  # bytes
    time: int  # of its last modification, ns
    content: str  # hash of its content
    settings: str  # fingerprint of the model and the options

    @classmethod
    def of(cls, path: str, settings: str) -> "Source":
        """Return the `Source` of a file; raise OSError if it is not readable."""
        status = os.stat(path)
        return cls(
            _place(path),
            status.st_size,
            status.st_mtime_ns,
            file_hash(path),
            settings,
        )


@dataclass(frozen=True)
class Entry:
    """A line of the record."""

    source: Source
    parts: list[str]  # names of its explanations, one for each prompt
    # Rows of the table, column to text (None: missing); empty if not finished.
    rows: list[dict[str, str | None]]
    files: list[str]  # names of the written files

    def line(self) -> str:
        """Return the entry as a line of ASCII JSON."""
        return json.dumps(asdict(self)) + "\n"


def outputs_of(part: str) -> list[str]:
    """Return the names of all files that may be written for an explanation."""
    return [part + ending for ending in ENDINGS]


class Record:
    """The record of a folder: the last entry of each source.

    Arguments
    ---------
    folder : str or Path
    """

    def __init__(self, folder: Path | str) -> None:
        self.path = Path(folder) / RECORD
        self._by_identity = {_identity(e.source): e for e in _read(self.path)}
        self._by_place: dict[str, list[Source]] = {}
        for entry in self._by_identity.values():
            self._by_place.setdefault(entry.source.place, []).append(entry.source)

    def get(self, source: Source) -> Entry | None:
        """Return the entry of a source, or None."""
        return self._by_identity.get(_identity(source))

    def entries(self) -> ValuesView[Entry]:
        """Return all entries."""
        return self._by_identity.values()

    def names(self) -> set[str]:
        """Return the names of all explanations, including unfinished ones."""
        return {part for entry in self.entries() for part in entry.parts}

    def add(self, entry: Entry) -> None:
        """Append an entry."""
        append_text(entry.line(), self.path)
        self._by_identity[_identity(entry.source)] = entry
        self._by_place.setdefault(entry.source.place, []).append(entry.source)

    def forget(self, source: Source) -> None:
        """Revoke the entry of an unfinished file, unless the disk is full."""
        with suppress(CannotWriteError):
            self.add(Entry(source, [], [], []))

    def mend(self) -> None:
        """Terminate a last line that was truncated by an interruption."""
        if self.path.is_file() and self.path.read_bytes()[-1:] not in (b"", b"\n"):
            append_text("\n", self.path)

    def source(self, path: str, settings: str) -> Source:
        """Return the `Source` of a file; hash it only if size or time changed."""
        status = os.stat(path)
        for source in self._by_place.get(_place(path), ()):
            if (source.size, source.time) == (status.st_size, status.st_mtime_ns):
                return replace(source, settings=settings)
        return Source.of(path, settings)


def _place(path: str) -> str:
    whole = os.fsencode(os.path.abspath(path))
    return content_hash(whole)


def _identity(source: Source) -> tuple[str, int, str, str]:
    """Return the fields that identify a source: all except its modification time."""
    return source.place, source.size, source.content, source.settings


def _read(path: Path) -> Iterator[Entry]:
    """Yield the readable entries; the last line may be truncated."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            values = json.loads(line)
            entry = Entry(**{**values, "source": Source(**values["source"])})
            if _is_valid(entry):
                yield entry
        except (ValueError, TypeError, KeyError, AttributeError):
            continue


def _is_valid(entry: Entry) -> bool:
    """Return whether an entry is well-formed and refers only to files in its folder."""
    names = [*entry.parts, *entry.files, *(row["name"] for row in entry.rows)]
    plain = all(name and os.path.basename(name) == name for name in names)
    texts = all(
        isinstance(cell, str | None) for row in entry.rows for cell in row.values()
    )
    hash(entry.source)  # TypeError for lists and dicts
    return plain and texts and len(entry.rows) in (0, len(entry.parts))
