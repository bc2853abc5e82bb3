"""performance.md and scaling.md in docs/results, from what `benchmarks.run` measured.

python -m benchmarks.page
"""

from benchmarks import parts, scaling_page
from benchmarks.faithfulness_page import faithfulness_part
from benchmarks.run import FOLDER, read_record
from speechbrain_lmac.reporting.markdown import MarkdownPage, table_lines
from speechbrain_lmac.utils.files import write_text


class Targets:
    """The targets next to what was measured."""

    def __init__(self):
        self.rows = []

    def at_most(self, what, value, limit, unit="", why=""):
        """One that must not be passed."""
        self._add(what, value, f"at most {limit:g}{unit}", value <= limit, unit, why)

    def at_least(self, what, value, limit, unit="", why=""):
        """One that must be reached."""
        self._add(what, value, f"at least {limit:g}{unit}", value >= limit, unit, why)

    def _add(self, what, value, target, met, unit, why):
        state = "met" if met else f"missed{': ' + why if why else ''}"
        self.rows.append([what, target, f"{value:.3g}{unit}", state])

    def lines(self):
        """Those of the table."""
        return table_lines(["", "target", "measured", ""], self.rows)


PARTS = {
    "training": parts.training_part,
    "evaluation": parts.evaluation_part,
    "explanation": parts.explanation_part,
    "loading": parts.loading_part,
    "scaling": parts.scaling_part,
    "long_files": parts.long_files_part,
    "faithfulness": faithfulness_part,
    "ranks": parts.ranks_part,
}


def performance(folder=FOLDER):
    """The text of docs/results/performance.md."""
    targets, told, records = Targets(), [], {}
    for name, part in PARTS.items():
        record = read_record(name, folder)
        if record is not None:
            told += part(record[name], targets)
            records[name] = record
    page = MarkdownPage("Performance")
    page.add(
        "Written by `make bench`. What is compared is timed in turns, in one run, and "
        "a ratio is the median over the turns: this machine changes its speed by half "
        "for minutes. So does what else it has to do: see the matmuls, timed beside. "
        "Data: noise, and generated sounds where something is learned. Seed: 1234. "
        f"{provenance(records)}",
        targets.lines(),
        *told,
        "## On a GPU",
        "Not measured: none was at hand.",
    )
    return page.text()


def provenance(records):
    """When and with what the records were made: once, where it is the same of all.

    Example
    -------
    >>> old, new = ({"date": day, "versions": "torch 2"} for day in ("May 1", "May 2"))
    >>> provenance({"ranks": old, "loading": old})
    'Measured on May 1. Versions: torch 2.'
    >>> provenance({"ranks": old, "loading": new})[:50]
    'Measured (ranks) on May 1. Versions: torch 2. Meas'
    """
    names = {}
    for name, record in records.items():
        names.setdefault((record["date"], record["versions"]), []).append(name)
    sentences = []
    for (date, versions), these in names.items():
        which = f" ({', '.join(these)})" if len(names) > 1 else ""
        sentences.append(f"Measured{which} on {date}. Versions: {versions}.")
    return " ".join(sentences)


def main():
    """Write the pages."""
    write_text(performance(), "docs/results/performance.md")
    write_text(scaling_page.text(), "docs/results/scaling.md")
    print("wrote docs/results/performance.md and docs/results/scaling.md")


if __name__ == "__main__":
    main()
