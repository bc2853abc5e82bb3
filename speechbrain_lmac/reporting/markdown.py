"""Markdown pages with accompanying CSV tables."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from speechbrain_lmac.utils.csv_files import write_csv
from speechbrain_lmac.utils.escaping import visible
from speechbrain_lmac.utils.files import write_text
from speechbrain_lmac.utils.system import command_line, versions


class MarkdownPage:
    """A Markdown page under a title, with tables to be saved as CSV files.

    Arguments
    ---------
    title : str
    header : sequence of str
        Provenance of the numbers, see `provenance`.

    Example
    -------
    >>> page = MarkdownPage("Tones", ["seed: 1234"])
    >>> page.add("## Sines", table_lines(["Hz", "dB"], [[440, -3]]))
    >>> print(page.text(), end="")
    # Tones
    <BLANKLINE>
    - seed: 1234
    <BLANKLINE>
    ## Sines
    <BLANKLINE>
    | Hz | dB |
    | --- | --- |
    | 440 | -3 |
    """

    def __init__(self, title: str, header: Sequence[str] = ()) -> None:
        self.paragraphs: list[str] = []
        self.tables: dict[str, list[pd.DataFrame]] = defaultdict(list)
        self.add(f"# {title}", [f"- {line}" for line in header])

    def add(self, *paragraphs: str | Iterable[str]) -> None:
        """Add paragraphs: texts, or lists of lines, e.g. of a table.

        Empty ones are skipped; empty lines separate the others.
        """
        for paragraph in paragraphs:
            if not isinstance(paragraph, str):
                paragraph = "\n".join(paragraph)
            if paragraph:
                self.paragraphs.append(paragraph)

    def add_rows(self, name: str, table: pd.DataFrame) -> None:
        """Add rows to the table `NAME.csv`."""
        self.tables[name].append(table)

    def append(self, page: "MarkdownPage") -> None:
        """Append another page, and the rows of its tables."""
        self.paragraphs += page.paragraphs
        for name, parts in page.tables.items():
            self.tables[name] += parts

    def text(self) -> str:
        """Return the text of the page."""
        return "\n\n".join(self.paragraphs) + "\n"

    def write(self, path: str | Path) -> None:
        """Write the page, and its tables as CSV files next to it, each atomically."""
        for name, parts in self.tables.items():
            table = pd.concat(parts, ignore_index=True)
            write_csv(table, Path(path).with_name(f"{name}.csv"))
        write_text(self.text(), path)


def provenance(argv: list[str], *about: str, seed: int) -> list[str]:
    """Return the header of a page of results.

    Arguments
    ---------
    argv : list of str
        Arguments of the command.
    *about : str
        Lines that describe the data.
    seed : int
        Seed of the experiment.

    Returns
    -------
    header : list of str
    """
    return [
        f"command: `{command_line(argv)}`",
        *about,
        f"seed: {seed}",
        f"versions: {versions()}",
    ]


def placed(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    """Return a table with constant columns inserted in front.

    Example
    -------
    >>> placed(pd.DataFrame({"AI": [40.0]}), condition="clean").columns.tolist()
    ['condition', 'AI']
    """
    return table.assign(**where)[[*where, *table.columns]]


def table_lines(
    titles: Sequence[object], rows: Iterable[Sequence[object]] = ()
) -> list[str]:
    """Return the lines of a Markdown table.

    Example
    -------
    >>> table_lines(["score", "mean"], [["AI", 41.67]])
    ['| score | mean |', '| --- | --- |', '| AI | 41.67 |']
    """
    return [row_of(line) for line in (titles, ["---"] * len(titles), *rows)]


def row_of(cells: Iterable[object]) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(map(_cell_text, cells)) + " |"


def _cell_text(cell: object) -> str:
    """Return the text of a cell with pipes, and backslashes before them, escaped."""
    text = visible(str(cell)).replace("\n", " ")
    return re.sub(r"(\\*)\|", lambda found: 2 * found[1] + r"\|", text)
