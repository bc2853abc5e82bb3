"""Manifests, tables and fault lists of dataset preparation.

A manifest is SpeechBrain's JSON: clip id -> fields. Paths begin with ``{data_root}``,
which the loader replaces. All clips of a dataset are checked before anything is
written, and all faults are reported in one error.
"""

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.files import write_together
from speechbrain_lmac.utils.hashing import content_hash

FINGERPRINT = "manifest.fingerprint.json"
FORMAT = 1  # increment when the content changes: old manifests are then rewritten


@dataclass(frozen=True)
class Manifests:
    """The manifests of a dataset, with counts and warnings."""

    train: Path
    valid: Path
    test: Path
    counts: dict[str, int]  # split -> number of clips
    warnings: tuple[str, ...]  # harmless faults, one string per kind


class Faults:
    """The faults of a dataset by kind, raised as one error.

    Example
    -------
    >>> faults = Faults()
    >>> faults.add("missing audio file", "a.wav")
    >>> faults.add("missing audio file", "b.wav")
    >>> faults.raise_if_any("data/ESC-50")
    Traceback (most recent call last):
    ...
    speechbrain_lmac.utils.errors.InputError: data/ESC-50 has 2 faults, no manifest \
written:
      missing audio file (2): a.wav, b.wav
    """

    def __init__(self) -> None:
        self.by_kind: dict[str, list[int | str]] = {}

    def add(self, kind: str, subject: int | str) -> None:
        """Record one fault of a clip, class or fold (`subject`)."""
        self.by_kind.setdefault(kind, []).append(subject)

    def raise_if_any(self, dataset: Path | str) -> None:
        """Raise InputError with the count and the first ten of each kind."""
        if not self.by_kind:
            return
        total = sum(map(len, self.by_kind.values()))
        count = "1 fault" if total == 1 else f"{total} faults"
        lines = [f"{dataset} has {count}, no manifest written:"]
        for kind, found in self.by_kind.items():
            lines.append(f"  {kind} ({len(found)}): {some_of(found)}")
        raise InputError("\n".join(lines))


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read the rows of a CSV file as dicts of strings.

    Arguments
    ---------
    path : str or Path
        Comma-separated, UTF-8, with the column names in the first line.
    columns : sequence of str
        The required columns; others are kept.

    Returns
    -------
    rows : list of dict
        Column -> text without surrounding whitespace, "" for missing cells.

    Raises
    ------
    InputError
        The file or a column is missing, or the file is not a CSV.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            found = reader.fieldnames or []
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read the table {path}: {error}") from error
    missing = [column for column in columns if column not in found]
    if missing:
        raise InputError(
            f"missing columns in {path}: {', '.join(missing)}; "
            f"found: {some_of(found) or 'none'}"
        )
    return [{column: row[column].strip() for column in found} for row in rows]


def fingerprint(
    options: Mapping[str, object], root: str | Path, files: Iterable[str]
) -> str:
    """Return a hash of all inputs of the manifests.

    Arguments
    ---------
    options : dict
        JSON values, including the content of the dataset's table.
    root : str or Path
        The dataset's folder; its location does not change the hash.
    files : iterable of str
        The audio files used, relative to root. Their names, sizes and modification
        times are hashed, not their content.

    Returns
    -------
    fingerprint : str
        64 hexadecimal digits.
    """
    parts = [json.dumps([FORMAT, options], sort_keys=True)]
    for name in files:
        size, changed = None, None
        try:
            status = os.stat(os.path.join(root, name))
            size, changed = status.st_size, status.st_mtime_ns
        except OSError:
            pass
        parts.append(json.dumps([name, size, changed]))
    return content_hash(*parts, kind="sha256")


def load_manifests(folder: Path | str, fingerprint: str) -> Manifests | None:
    """Load existing manifests; None if they are missing or out of date."""
    folder = Path(folder)
    try:
        record = json.loads((folder / FINGERPRINT).read_text(encoding="utf-8"))
        manifests = _manifests(folder, record)
        unchanged = record["fingerprint"] == fingerprint
    except (OSError, ValueError, KeyError, TypeError):
        return None
    paths = (manifests.train, manifests.valid, manifests.test)
    return manifests if unchanged and all(p.is_file() for p in paths) else None


def write_manifests(
    folder: Path | str,
    splits: Mapping[str, Mapping[str, dict]],
    fingerprint: str,
    warnings: Sequence[str] = (),
) -> Manifests:
    """Write all manifests of a dataset, or none of them.

    Arguments
    ---------
    folder : str or Path
        Created if missing.
    splits : dict
        "train", "valid", "test" -> clip id -> fields.
    fingerprint : str
        The hash from `fingerprint`.
    warnings : sequence of str
        Stored, and returned by `load_manifests`.

    Returns
    -------
    manifests : Manifests
        Paths, counts and warnings.

    Raises
    ------
    InputError
        The folder is not writable.
    """
    folder = Path(folder)
    record = {
        "fingerprint": fingerprint,
        "counts": {split: len(clips) for split, clips in splits.items()},
        "warnings": list(warnings),
    }
    contents: dict[str, Mapping] = {
        f"{split}.json": clips for split, clips in splits.items()
    }
    contents[FINGERPRINT] = record  # last: it marks the others as complete
    texts = {name: json.dumps(part, indent=2) + "\n" for name, part in contents.items()}
    try:
        write_together(folder, texts)
    except OSError as error:
        raise InputError(f"cannot write manifests in {folder}: {error}") from error
    return _manifests(folder, record)


def _manifests(folder: Path, record: dict) -> Manifests:
    return Manifests(
        train=folder / "train.json",
        valid=folder / "valid.json",
        test=folder / "test.json",
        counts=record["counts"],
        warnings=tuple(record["warnings"]),
    )
