"""The pages performance.md and scaling.md in docs/results, from the records.

python -m benchmarks.page
"""

from benchmarks import parts, scaling_page
from benchmarks.faithfulness_page import faithfulness_part
from benchmarks.run import FOLDER, read_record
from speechbrain_lmac.reporting.markdown import MarkdownPage, table_lines
from speechbrain_lmac.utils.files import write_text


class Targets:
    """Targets and measured values."""

    def __init__(self):
        self.rows = []

    def at_most(self, name, value, limit, unit="", why=""):
        """Add an upper limit."""
        self._add(name, value, f"at most {limit:g}{unit}", value <= limit, unit, why)

    def at_least(self, name, value, limit, unit="", why=""):
        """Add a lower limit."""
        self._add(name, value, f"at least {limit:g}{unit}", value >= limit, unit, why)

    def _add(self, name, value, target, met, unit, why):
        state = "met" if met else f"missed{': ' + why if why else ''}"
        self.rows.append([name, target, f"{value:.3g}{unit}", state])

    def lines(self):
        """Return the lines of the table."""
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
    """Return the text of docs/results/performance.md."""
    targets, content, records = Targets(), [], {}
    for name, part in PARTS.items():
        record = read_record(name, folder)
        if record is not None:
            content += part(record[name], targets)
            records[name] = record
    page = MarkdownPage("Performance")
    page.add(
        "Written by `make bench`. Timings vary by up to 50 %; compared cases are "
        "interleaved in one run, a ratio is the median over the rounds, and a matmul "
        "is timed with each case. Data: noise, and generated sounds for trainings. "
        "Seed: 1234. "
        f"{provenance(records)}",
        targets.lines(),
        *content,
        "## On a GPU",
        "Not measured: we had no access to one.",
    )
    return page.text()


def provenance(records):
    """Return date and versions of the records, once for equal ones.

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
