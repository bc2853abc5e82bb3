"""Storage of finished rows, to resume interrupted evaluations."""

import glob
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from speechbrain_lmac.utils.csv_files import read_csv, write_csv
from speechbrain_lmac.utils.distributed import wait_for_all
from speechbrain_lmac.utils.errors import InputError

SAVE_EVERY_S = 10.0
TEXT = ("id", "method", "label", "predicted", "fingerprint")
BOOLEANS = ("correct", "empty_mask", "saturated")


class RowStore:
    """The finished rows of an evaluation, in memory or in a CSV file.

    Arguments
    ---------
    path : str or Path, optional
        The file: read immediately, written every few seconds and by `save`. Default:
        rows are only in memory.
    fingerprints : dict, optional
        Method to the fingerprint of its rows. Rows of the file with another fingerprint
        or method are ignored.
    process : tuple
        Rank of this process and number of processes. If there are several, each writes
        its own file `NAME.RANK.csv`; later runs read all of them, and `gather` joins
        them.
    """

    keys: tuple[str, ...] = ("method", "id")  # columns that identify a row
    about: str = "fingerprint"  # column that identifies the settings of a row
    text: tuple[str, ...] = TEXT  # columns read as text, even if they look like numbers
    exact: tuple[str, ...] = ()  # numeric key columns, parsed by `float`

    def __init__(
        self,
        path: Path | str | None = None,
        fingerprints: Mapping[str, str] | None = None,
        process: tuple[int, int] = (0, 1),
    ) -> None:
        self.path = None if path is None else Path(path)
        self.fingerprints = fingerprints or {}
        self.rank, self.n_ranks = process
        self._rows: dict[tuple, dict] = {}  # key -> column -> value
        self._saved = time.monotonic()
        self._changed = False
        for file in self._files():
            self._read(file)

    def expected(self, rows: pd.DataFrame) -> pd.Series | str:
        """Return the value that the column `about` must have in valid rows."""
        return rows["method"].map(self.fingerprints)

    def valid(self, rows: pd.DataFrame, file: Path) -> pd.DataFrame:
        """Return the rows of a file that can be reused."""
        return rows[rows[self.about] == self.expected(rows)]

    def _files(self) -> list[Path]:
        """Return the paths of the file and of the files of single processes."""
        if self.path is None:
            return []
        stem, suffix = self.path.stem, self.path.suffix
        others = [
            file
            for file in sorted(self.path.parent.glob(f"{glob.escape(stem)}.*{suffix}"))
            if file.stem.removeprefix(f"{stem}.").isdecimal()
        ]
        return [*([self.path] if self.path.is_file() else []), *others]

    def _read(self, file: Path) -> None:
        """Add the valid rows of a file."""
        exact = dict.fromkeys(self.exact, float)
        with _readable(file):
            rows = read_csv(file, self.text, converters=exact)
            self._store(_typed(self.valid(rows, file)).drop(columns=self.about))

    def __contains__(self, key: tuple) -> bool:
        return key in self._rows

    def has(self, method: str, ids: Iterable[str]) -> bool:
        """Return whether each of the clips has a row of this method."""
        return all((method, clip) in self for clip in ids)

    def add(self, table: pd.DataFrame) -> None:
        """Add finished rows, and write the file every `SAVE_EVERY_S` seconds."""
        self._store(table)
        self._changed = True
        if time.monotonic() - self._saved > SAVE_EVERY_S:
            self.save()

    def _store(self, table: pd.DataFrame) -> None:
        """Add the rows of a table in memory."""
        for row in table.to_dict("records"):
            self._rows[tuple(row[name] for name in self.keys)] = row

    def rows(self, keys: Iterable[tuple]) -> pd.DataFrame:
        """Return the rows with these keys, in their order."""
        return _typed(pd.DataFrame([self._rows[key] for key in keys]))

    def save(self) -> None:
        """Write this process's file, atomically."""
        if self.path is None or not self._changed:
            return
        path = self.path
        if self.n_ranks > 1:
            path = path.with_name(f"{path.stem}.{self.rank}{path.suffix}")
        self._write(path)
        self._saved, self._changed = time.monotonic(), False

    def _write(self, path: Path) -> None:
        """Write all rows to a file, atomically."""
        rows = pd.DataFrame(list(self._rows.values()))
        rows[self.about] = self.expected(rows)
        write_csv(rows, path)

    def gather(self) -> None:
        """Save, wait for the other processes, and merge all rows into one file."""
        self.save()
        wait_for_all()
        files = self._files()
        if self.n_ranks > 1:
            for file in files:
                self._read(file)
        wait_for_all()  # all have read
        if self.path and self.rank == 0 and files and files != [self.path]:
            self._write(self.path)
            for file in files:
                if file != self.path:
                    file.unlink()


def finished_table(path: Path, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return the table in a CSV file; compute and write it if the file is missing.

    Arguments
    ---------
    path : Path
        Its name must contain a fingerprint of everything the table depends on.
    make : callable
        Computes the table.

    Returns
    -------
    table : pandas.DataFrame
        As read from the file.

    Raises
    ------
    InputError
        When the file is damaged.
    """
    if not path.is_file():
        write_csv(make(), path)
    with _readable(path):
        return read_csv(path)


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Turn errors from reading a damaged file into InputError with advice."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{file} is damaged, or is not a table of finished rows: remove it"
        ) from error


def _typed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with missing text as None and missing booleans as <NA>."""
    rows = rows.copy()
    for name in {"label", "predicted"} & set(rows):
        column = rows[name].astype(object)
        rows[name] = column.where(column.notna(), None)
    return rows.astype({name: "boolean" for name in BOOLEANS if name in rows})
