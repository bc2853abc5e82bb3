"""What the preparation of every dataset shares: tables, faults, manifests.

A manifest is SpeechBrain's JSON: clip id -> fields, the path beginning with
``{data_root}``, which the loader replaces. A dataset is checked over all its clips
before a word is written, and its faults are told in one message.
"""

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path

from speechbrain_lmac.utils.errors import InputError, some_of
from speechbrain_lmac.utils.files import write_together
from speechbrain_lmac.utils.hashing import content_hash

FINGERPRINT = "manifest.fingerprint.json"
FORMAT = 1  # one more when the manifests' content changes: old ones are remade


@dataclass(frozen=True)
class Manifests:
    """The manifests of a dataset and what is in them."""

    train: Path
    valid: Path
    test: Path
    counts: dict  # split -> number of clips
    warnings: tuple  # what is no fault and yet worth a look, one string each


class Faults:
    """The faults of a dataset by kind, told in one error.

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

    def __init__(self):
        self.by_kind = {}

    def add(self, kind: str, what: int | str) -> None:
        """Note one fault; `what` is the clip, class or fold that has it."""
        self.by_kind.setdefault(kind, []).append(what)

    def raise_if_any(self, where: Path | str) -> None:
        """Raise InputError with the count and the first ten of each kind."""
        if not self.by_kind:
            return
        total = sum(map(len, self.by_kind.values()))
        count = "1 fault" if total == 1 else f"{total} faults"
        lines = [f"{where} has {count}, no manifest written:"]
        for kind, found in self.by_kind.items():
            lines.append(f"  {kind} ({len(found)}): {some_of(found)}")
        raise InputError("\n".join(lines))


def read_table(path: Path, columns: list[str] | tuple[str, ...]) -> list:
    """The rows of a csv file as dicts of strings.

    Arguments
    ---------
    path : str or Path
        Comma-separated, UTF-8, its first line naming the columns.
    columns : sequence of str
        The columns that must be there; others are kept.

    Returns
    -------
    rows : list of dict
        Column -> text without surrounding blanks, "" where a row is short.

    Raises
    ------
    InputError
        No such file, no table, or a column lacks.
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
            f"{path} lacks the columns {', '.join(missing)}; "
            f"it has {some_of(found) or 'none'}"
        )
    return [{column: row[column].strip() for column in found} for row in rows]


def fingerprint(options: dict, root: Path, files) -> str:
    """A hash of everything that manifests are made from.

    Arguments
    ---------
    options : dict
        Whatever JSON can hold, the content of the dataset's table included.
    root : str or Path
        The dataset's folder, which may move without a change of the hash.
    files : iterable of str
        The audio files used, relative to root; their names, sizes and times of
        change count, not their content.

    Returns
    -------
    fingerprint : str
        64 hexadecimal digits.
    """
    parts = [json.dumps([FORMAT, options], sort_keys=True)]
    for name in files:
        try:
            status = os.stat(os.path.join(root, name))
            state = (name, status.st_size, status.st_mtime_ns)
        except OSError:
            state = (name, None, None)
        parts.append(json.dumps(state))
    return content_hash(*parts, kind="sha256")


def load_manifests(folder: Path | str, fingerprint: str) -> Manifests | None:
    """The manifests that are there already, or None where they are out of date."""
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
    folder: Path | str, splits: dict, fingerprint: str, warnings: list[str] | tuple = ()
) -> Manifests:
    """Write all manifests of a dataset, or none of them.

    Arguments
    ---------
    folder : str or Path
        Made where it does not exist.
    splits : dict
        "train", "valid", "test" -> clip id -> fields.
    fingerprint : str
        Of what they were made from (`fingerprint`).
    warnings : sequence of str
        Kept, so that a later call that finds nothing to do can repeat them.

    Returns
    -------
    manifests : Manifests
        Paths, counts and warnings.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    folder = Path(folder)
    record = {
        "fingerprint": fingerprint,
        "counts": {split: len(clips) for split, clips in splits.items()},
        "warnings": list(warnings),
    }
    contents = {f"{split}.json": clips for split, clips in splits.items()}
    contents[FINGERPRINT] = record  # last: it vouches for the others
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
