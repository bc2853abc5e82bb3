"""Pages in Markdown, and the tables beside them."""

import re
from collections import defaultdict
from pathlib import Path

import pandas as pd

from speechbrain_lmac.utils.csv_files import write_csv
from speechbrain_lmac.utils.escaping import visible
from speechbrain_lmac.utils.files import write_text
from speechbrain_lmac.utils.system import command_line, versions


class MarkdownPage:
    """Paragraphs under a title, and the tables that they are made of.

    Arguments
    ---------
    title : str
    header : list
        Of str: where the numbers are from, see `provenance`.

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

    def __init__(self, title: str, header: list[str] | tuple = ()):
        self.paragraphs = []
        self.tables = defaultdict(list)
        self.add(f"# {title}", [f"- {line}" for line in header])

    def add(self, *paragraphs) -> None:
        """Add paragraphs: texts, or lists of lines as those of a table.

        An empty line stands between two of them. Those that are empty are left out.
        """
        for paragraph in paragraphs:
            if not isinstance(paragraph, str):
                paragraph = "\n".join(paragraph)
            if paragraph:
                self.paragraphs.append(paragraph)

    def add_rows(self, name: str, table: int | pd.DataFrame) -> None:
        """Add rows to the table `NAME.csv`."""
        self.tables[name].append(table)

    def append(self, page: "MarkdownPage") -> None:
        """Add all of another page, and the rows of its tables."""
        self.paragraphs += page.paragraphs
        for name, parts in page.tables.items():
            self.tables[name] += parts

    def text(self) -> str:
        """The page so far."""
        return "\n\n".join(self.paragraphs) + "\n"

    def write(self, path: Path) -> None:
        """Write the page, and beside it the tables that have rows; each atomically."""
        for name, parts in self.tables.items():
            table = pd.concat(parts, ignore_index=True)
            write_csv(table, Path(path).with_name(f"{name}.csv"))
        write_text(self.text(), path)


def provenance(argv: list[str], *about, seed: int) -> list[str]:
    """The header of a page of results.

    Arguments
    ---------
    argv : list
        Of the command.
    *about : str
        Lines about the data.
    seed : int

    Returns
    -------
    header : list
        Of str.
    """
    return [
        f"command: `{command_line(argv)}`",
        *about,
        f"seed: {seed}",
        f"versions: {versions()}",
    ]


def placed(table: pd.DataFrame, **where) -> pd.DataFrame:
    """A table with what it is about in front.

    Example
    -------
    >>> placed(pd.DataFrame({"AI": [40.0]}), condition="clean").columns.tolist()
    ['condition', 'AI']
    """
    return table.assign(**where)[[*where, *table.columns]]


def table_lines(titles, rows=()) -> list[str]:
    """The lines of a Markdown table.

    Example
    -------
    >>> table_lines(["score", "mean"], [["AI", 41.67]])
    ['| score | mean |', '| --- | --- |', '| AI | 41.67 |']
    """
    return [row_of(line) for line in (titles, ["---"] * len(titles), *rows)]


def row_of(cells: list) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(map(_cell_text, cells)) + " |"


def _cell_text(cell) -> str:
    """Text that stays in its cell: a bar, and backslashes before it, are escaped."""
    text = visible(str(cell)).replace("\n", " ")
    return re.sub(r"(\\*)\|", lambda found: 2 * found[1] + r"\|", text)
