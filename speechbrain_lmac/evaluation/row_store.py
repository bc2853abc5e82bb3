"""Finished rows of a table, kept, so that what is interrupted goes on."""

import glob
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from speechbrain_lmac.utils.csv_files import read_csv, write_csv
from speechbrain_lmac.utils.distributed import wait_for_all
from speechbrain_lmac.utils.errors import InputError

SAVE_EVERY_S = 10.0
TEXT = ("id", "method", "label", "predicted", "fingerprint")
TRUTH_VALUES = ("correct", "empty_mask", "saturated")


class RowStore:
    """The finished rows of an evaluation, in a csv file if there is one.

    Arguments
    ---------
    path : str or Path, optional
        The file: read here, written every few seconds and by `save`. Without: memory
        only.
    fingerprints : dict, optional
        Method to what its rows depend on. Rows of the file with another fingerprint,
        or of another method, are not taken.
    share : tuple
        This process's number and how many there are. Where there are more than one,
        each writes a file of its own beside the first, `NAME.RANK.csv`, which the next
        run finds, however many it has, and which `gather` puts together.
    """

    keys = ("method", "id")  # columns that tell rows apart
    about = "fingerprint"  # column of what a row depends on
    text = TEXT  # columns of text, whatever stands in them
    exact = ()  # columns of numbers that are keys: read by Python's own float

    def __init__(
        self,
        path: Path | None = None,
        fingerprints: dict[str, str] | None = None,
        share: tuple[int, int] = (0, 1),
    ):
        self.path = None if path is None else Path(path)
        self.fingerprints = fingerprints or {}
        self.rank, self.n_ranks = share
        self._rows = {}  # key -> column -> value
        self._saved = time.monotonic()
        self._changed = False
        for file in self._files():
            self._read(file)

    def prints(self, rows: pd.DataFrame):
        """What each of some rows must depend on to be taken."""
        return rows["method"].map(self.fingerprints)

    def taken(self, rows: pd.DataFrame, file: Path) -> pd.DataFrame:
        """Those rows of a file that need not be computed again."""
        return rows[rows[self.about] == self.prints(rows)]

    def _files(self) -> list[Path]:
        """The file, and those that processes have left beside it."""
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
        exact = dict.fromkeys(self.exact, float)
        with _refused(file):
            rows = read_csv(file, self.text, converters=exact)
            self._keep(_typed(self.taken(rows, file)).drop(columns=self.about))

    def __contains__(self, key: tuple) -> bool:
        return key in self._rows

    def has(self, method: str, ids: list[str]) -> bool:
        """Whether there is a row of this method for each of the clips."""
        return all((method, clip) in self for clip in ids)

    def add(self, table: pd.DataFrame) -> None:
        """Keep finished rows, and write the file if it was not just written."""
        self._keep(table)
        self._changed = True
        if time.monotonic() - self._saved > SAVE_EVERY_S:
            self.save()

    def _keep(self, table: pd.DataFrame) -> None:
        for row in table.to_dict("records"):
            self._rows[tuple(row[name] for name in self.keys)] = row

    def rows(self, keys) -> pd.DataFrame:
        """The rows with these keys, in their order."""
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
        rows = pd.DataFrame(list(self._rows.values()))
        rows[self.about] = self.prints(rows)
        write_csv(rows, path)

    def gather(self) -> None:
        """Save, wait for the other processes, and take their rows; one file remains."""
        self.save()
        wait_for_all()
        files = self._files()
        if self.n_ranks > 1:
            for file in files:
                self._read(file)
        wait_for_all()  # all have read
        if self.rank == 0 and files and files != [self.path]:
            self._write(self.path)
            for file in files:
                if file != self.path:
                    file.unlink()


def finished_table(path: Path, make) -> pd.DataFrame:
    """The table in a csv file, which is made and written where there is none.

    Arguments
    ---------
    path : Path
        Its name tells what the table depends on.
    make : callable
        Returns the table.

    Returns
    -------
    table : pandas.DataFrame
        As it is read from the file.
    """
    if not path.is_file():
        write_csv(make(), path)
    with _refused(path):
        return read_csv(path)


@contextmanager
def _refused(file: Path) -> Iterator[None]:
    """Say of a file that is no table of ours what to do, whatever reading it raises."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{file} is no table of finished rows, or a damaged one: remove it"
        ) from error


def _typed(rows: pd.DataFrame) -> pd.DataFrame:
    """Columns of text and of truth values with what is missing as None and <NA>."""
    rows = rows.copy()
    for name in {"label", "predicted"} & set(rows):
        column = rows[name].astype(object)
        rows[name] = column.where(column.notna(), None)
    return rows.astype({name: "boolean" for name in TRUTH_VALUES if name in rows})
