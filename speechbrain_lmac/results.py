"""From the rows of an evaluation to the files that are read."""

from collections import defaultdict
from pathlib import Path

import pandas as pd

from speechbrain_lmac.comparison import compare, means_by
from speechbrain_lmac.csv_files import write_csv
from speechbrain_lmac.errors import InputError
from speechbrain_lmac.files import write_text
from speechbrain_lmac.metrics import (
    AD,
    AD_DOUBLE_SOFTMAX,
    AG,
    AI,
    COMP,
    FID_IN,
    MM,
    SPS,
)
from speechbrain_lmac.metrics.curves import CURVES
from speechbrain_lmac.metrics.truth import IRM_OVERLAP
from speechbrain_lmac.published import WARNINGS, published_numbers
from speechbrain_lmac.sanity import SIMILARITIES
from speechbrain_lmac.summary import curves_of, summarise
from speechbrain_lmac.tables import (
    COMPARISON,
    COUNTS,
    HOW_TO_READ,
    comparison_table,
    descriptions,
    latex_table,
    markdown_table,
    published_table,
    sanity_table,
    verdict,
)
from speechbrain_lmac.visualize import write_curves, write_sanity

# Of the masks themselves, which cannot be compared across domains.
OF_MASKS = (SPS, COMP, MM, IRM_OVERLAP)
# What the papers compare methods by.
FAITHFULNESS = (AI, AD, AG, FID_IN)


def write_results(
    folder,
    benchmark,
    per_clip,
    header,
    seed,
    reference=None,
    published=None,
    sanity=None,
    together=(),
):
    """Write everything that can be made of the rows; each file atomically.

    `per_clip.csv`, `summary.csv`, `summary.md`, `summary.tex`; `comparison.csv` with a
    reference; `curves.csv` and a picture for each condition and block that has curves;
    `sanity.csv` and a picture for each block with a check of sanity. The numbers in
    the csv files are exact (`pandas.read_csv` of pandas 3 gives them back).

    Arguments
    ---------
    folder : str or Path
        Made when missing.
    benchmark : Benchmark
    per_clip : pandas.DataFrame
        From `Benchmark.score`.
    header : list
        Of str: the command, the data, the seed, the versions.
    seed : int
        Of the bootstraps.
    reference : str, optional
        The method that the others are compared with, clip by clip.
    published : str, optional
        What to show beside it, see `published.published_numbers`.
    sanity : pandas.DataFrame, optional
        From `Benchmark.check_sanity`.
    together : list
        Of names of blocks, whose methods also stand in one table, in which the
        reference is compared across blocks: in the scores that all of them have,
        without those of the masks themselves.

    Raises
    ------
    InputError
        When there is no such block.
    """
    for block in set(together) - set(benchmark.blocks):
        raise InputError(
            f"together asks for the block {block!r}; there are "
            f"{', '.join(benchmark.blocks)}"
        )
    folder = Path(folder)
    write_csv(per_clip, folder / "per_clip.csv")
    page = Page(folder, seed, reference, published)
    page.lines += ["# Evaluation", "", *(f"- {line}" for line in header), ""]
    for condition, opened in benchmark.conditions.items():
        page.lines += [f"## {condition}", "", f"{opened.description}.", ""]
        summaries = {}
        for block in benchmark.blocks:
            rows = rows_of(per_clip, condition, block)
            kinds = benchmark.scores(condition, block)
            summaries[block] = page.add(condition, block, rows, kinds)
            shares = benchmark.shares(condition)
            if shares:
                page.add_curves(condition, block, curves_of(rows, shares))
        if together:
            rows = pd.concat([rows_of(per_clip, condition, b) for b in together])
            kinds = [benchmark.scores(condition, block) for block in together]
            page.add(condition, " and ".join(together), in_one(rows), common(kinds))
        columns = [m for m in benchmark.metrics if m is not AD_DOUBLE_SOFTMAX]
        caption = f"{condition}: {opened.description}"
        page.latex.append(latex_table(summaries, caption, columns))
    if sanity is not None:
        page.add_sanity(sanity)
    page.write()


class Page:
    """What `write_results` has to say so far: text, tables and pictures.

    Arguments
    ---------
    folder : Path
    seed : int
    reference, published : str or None
        See `write_results`.
    """

    def __init__(self, folder, seed, reference, published):
        self.folder = folder
        self.seed = seed
        self.reference = reference
        self.published = published
        self.numbers = None if published is None else published_numbers(published)
        self.lines = []
        self.latex = []
        self._tables = defaultdict(list)
        self._used = {}

    def add(self, condition, block, rows, kinds):
        """The tables of a condition and block. Returns the summary.

        Arguments
        ---------
        condition, block : str
        rows : pandas.DataFrame
            Of `Benchmark.score`, of these only.
        kinds : dict
            From `Benchmark.scores`.
        """
        scores = [score for kind in kinds.values() for score in kind]
        self._used |= {score.name: score for score in scores}
        summary = summarise(rows, scores, seed=self.seed)
        self._tables["summary"].append(named(summary, condition, block))
        self.lines += [f"### {condition}, {block}", ""]
        self.lines += [*markdown_table(summary, kinds["metrics"], COUNTS), ""]
        for kind in ("truth", "areas"):
            if kinds[kind]:
                self.lines += [*markdown_table(summary, kinds[kind]), ""]
        if self.numbers is not None:
            beside = published_table(summary, self.numbers, condition, block, scores)
            if beside:
                self.lines += [*beside, "", WARNINGS[self.published], ""]
        if self.reference in set(rows["method"]):
            self._compare(condition, block, rows, kinds, summary)
        return summary

    def _compare(self, condition, block, rows, kinds, summary):
        """The reference against the other methods, clip by clip."""
        reference, scores = self.reference, [s for kind in kinds.values() for s in kind]
        compared = compare(rows, reference, scores, seed=self.seed)
        self._tables["comparison"].append(named(compared, condition, block))
        for kind in ("metrics", "truth"):
            if kinds[kind]:
                table = comparison_table(compared, reference, kinds[kind])
                self.lines += [*table, ""]
        self.lines += [COMPARISON, ""]
        for title, leading in (
            ("", FAITHFULNESS),
            ("Against the known sources: ", kinds["truth"]),
            ("At equal sizes of the mask: ", kinds["areas"]),
        ):
            if leading:
                line = verdict(summary, compared, reference, leading)
                self.lines += [f"{title}{line}", ""]

    def add_curves(self, condition, block, curves):
        """Curves from `curves_of`, and their picture."""
        names = [score.name for score in CURVES]
        means = means_by(curves, ["method", "share"], names, seed=self.seed)
        self._tables["curves"].append(named(means, condition, block))
        picture = f"curves_{condition}_{block}.png"
        write_curves(means, CURVES, self.folder / picture, f"{condition}, {block}")
        self.lines += [f"![Faithfulness at equal sizes of the mask]({picture})", ""]

    def add_sanity(self, sanity):
        """The checks from `Benchmark.check_sanity`, and their pictures."""
        write_csv(sanity, self.folder / "sanity.csv")
        self.lines += ["## Sanity: a randomised classifier", ""]
        names = [score.name for score in SIMILARITIES]
        for block, table in sanity.groupby("block", sort=False):
            means = means_by(table, ["method", "step", "layer"], names, seed=self.seed)
            picture = f"sanity_{block}.png"
            write_sanity(means, SIMILARITIES, self.folder / picture, block)
            self.lines += [f"### {block}", "", *sanity_table(means, SIMILARITIES), ""]
            self.lines += [f"![Similarity with the masks before]({picture})", ""]

    def write(self):
        """Everything that is not written yet."""
        for name, parts in self._tables.items():
            write_csv(pd.concat(parts, ignore_index=True), self.folder / f"{name}.csv")
        self.lines += [HOW_TO_READ, "", *descriptions(self._used.values())]
        write_text("\n".join(self.lines) + "\n", self.folder / "summary.md")
        write_text("\n".join(self.latex), self.folder / "summary.tex")


def rows_of(per_clip, condition, block):
    """The rows of one condition and block."""
    here = per_clip["condition"].eq(condition) & per_clip["block"].eq(block)
    return per_clip[here]


def named(table, condition, block):
    """A table with its condition and block in front."""
    return table.assign(condition=condition, block=block)[
        ["condition", "block", *table.columns]
    ]


def in_one(rows):
    """The rows of several blocks as one table; methods of several say which block.

    Example
    -------
    >>> rows = {"block": ["STFT", "Mel", "Mel"], "method": ["all ones"] * 2 + ["L-MAC"]}
    >>> in_one(pd.DataFrame(rows))["method"].tolist()
    ['all ones, STFT', 'all ones, Mel', 'L-MAC']
    """
    shared = rows.groupby("method")["block"].transform("nunique") > 1
    return rows.assign(
        method=rows["method"].where(~shared, rows["method"] + ", " + rows["block"])
    )


def common(kinds):
    """The scores that all blocks have, but for `OF_MASKS`; by kind as of
    `Benchmark.scores`."""
    return {
        kind: [
            score
            for score in scores
            if score not in OF_MASKS and all(score in others[kind] for others in kinds)
        ]
        for kind, scores in kinds[0].items()
    }
