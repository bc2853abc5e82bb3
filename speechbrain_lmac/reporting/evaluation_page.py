"""From the rows of an evaluation to the files that are read."""

from pathlib import Path

import pandas as pd

from speechbrain_lmac.evaluation.paired_tests import compare, means_by
from speechbrain_lmac.evaluation.statistics import curves_of, summarise
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
from speechbrain_lmac.metrics.separation import IRM_OVERLAP
from speechbrain_lmac.plots.charts import write_curves
from speechbrain_lmac.reporting.latex import latex_table
from speechbrain_lmac.reporting.markdown import MarkdownPage, placed
from speechbrain_lmac.reporting.paper_order import is_control
from speechbrain_lmac.reporting.published import WARNINGS, published_numbers
from speechbrain_lmac.reporting.sanity_page import add_sanity
from speechbrain_lmac.reporting.tables import (
    COMPARISON,
    COUNTS,
    HOW_TO_READ,
    comparison_table,
    descriptions,
    markdown_table,
    published_table,
    verdict,
)
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_text

# Of the masks themselves, which cannot be compared across domains.
OF_MASKS = (SPS, COMP, MM, IRM_OVERLAP)
# What the papers compare methods by.
FAITHFULNESS = (AI, AD, AG, FID_IN)


def write_results(
    folder: Path,
    benchmark,
    per_clip: pd.DataFrame | None,
    header: list[str],
    seed: int,
    reference: str | None = None,
    published: str | None = None,
    sanity: pd.DataFrame | None = None,
    together: list[str] | tuple = (),
) -> None:
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
    page = EvaluationPage(Path(folder), header, seed, reference, published)
    page.add_rows("per_clip", per_clip)
    for condition in benchmark.conditions:
        about = benchmark.description(condition)
        page.add(f"## {condition}", f"{about}.")
        summaries = {}
        for block in benchmark.blocks:
            rows = rows_of(per_clip, condition, block)
            kinds = benchmark.scores(condition, block)
            summaries[block] = page.add_block(condition, block, rows, kinds)
            shares = benchmark.shares(condition)
            if shares:
                page.add_curves(condition, block, curves_of(rows, shares))
        if together:
            rows = pd.concat([rows_of(per_clip, condition, b) for b in together])
            kinds = [benchmark.scores(condition, block) for block in together]
            name = " and ".join(together)
            page.add_block(condition, name, in_one(rows), common(kinds))
        columns = [m for m in benchmark.metrics if m is not AD_DOUBLE_SOFTMAX]
        caption = f"{condition}: {about}"
        page.latex.append(latex_table(summaries, caption, columns))
    if sanity is not None:
        add_sanity(page, sanity, page.folder, seed, "Sanity: a randomised classifier")
    page.finish()


class EvaluationPage(MarkdownPage):
    """What `write_results` has to say so far: text, tables and pictures.

    Arguments
    ---------
    folder : Path
    header : list
    seed : int
    reference, published : str or None
        See `write_results`.
    """

    def __init__(
        self,
        folder: Path,
        header: list[str],
        seed: int,
        reference: str,
        published: str | None,
    ):
        super().__init__("Evaluation", header)
        self.folder = folder
        self.seed = seed
        self.reference = reference
        self.published = published
        self.numbers = None if published is None else published_numbers(published)
        self.latex = []
        self._used = {}

    def add_block(
        self, condition: str, block: str, rows: pd.DataFrame, kinds: dict
    ) -> pd.DataFrame:
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
        self.add_rows("summary", placed(summary, condition=condition, block=block))
        self.add(f"### {condition}, {block}")
        self.add(markdown_table(summary, kinds["metrics"], COUNTS))
        for kind in ("truth", "areas"):
            if kinds[kind]:
                self.add(markdown_table(summary, kinds[kind]))
        if self.numbers is not None:
            beside = published_table(summary, self.numbers, condition, block, scores)
            if beside:
                self.add(beside, WARNINGS[self.published])
        if self.reference in set(rows["method"]):
            self._compare(condition, block, rows, kinds, summary)
        return summary

    def _compare(
        self,
        condition: str,
        block: str,
        rows: pd.DataFrame,
        kinds: dict,
        summary: pd.DataFrame,
    ) -> None:
        """The reference against the other methods, clip by clip."""
        reference, scores = self.reference, [s for kind in kinds.values() for s in kind]
        compared = compare(rows, reference, scores, seed=self.seed)
        self.add_rows("comparison", placed(compared, condition=condition, block=block))
        tables = [
            comparison_table(compared, reference, kinds[kind])
            for kind in ("metrics", "truth")
        ]
        if any(tables):
            self.add(*tables, COMPARISON)
        if all(m == reference or is_control(m) for m in summary["method"]):
            self.add(f"There is no method but controls to compare {reference} with.")
            return
        for title, leading in (
            ("", [metric for metric in kinds["metrics"] if metric in FAITHFULNESS]),
            ("Against the known sources: ", kinds["truth"]),
            ("At equal sizes of the mask: ", kinds["areas"]),
        ):
            line = verdict(summary, compared, reference, leading)
            self.add(f"{title}{line}" if line else "")

    def add_curves(self, condition: str, block: str, curves: pd.DataFrame) -> None:
        """Curves from `curves_of`, and their picture."""
        names = [score.name for score in CURVES]
        means = means_by(curves, ["method", "share"], names, seed=self.seed)
        self.add_rows("curves", placed(means, condition=condition, block=block))
        picture = f"curves_{condition}_{block}.png"
        write_curves(means, CURVES, self.folder / picture, f"{condition}, {block}")
        self.add(f"![Faithfulness at equal sizes of the mask]({picture})")

    def finish(self) -> None:
        """Say how to read it, and write everything that is not written yet."""
        self.add(HOW_TO_READ, descriptions(self._used.values()))
        self.write(self.folder / "summary.md")
        write_text("\n".join(self.latex), self.folder / "summary.tex")


def rows_of(per_clip: pd.DataFrame, condition: str, block: str) -> pd.DataFrame:
    """The rows of one condition and block."""
    here = per_clip["condition"].eq(condition) & per_clip["block"].eq(block)
    return per_clip[here]


def in_one(rows: pd.DataFrame) -> pd.DataFrame:
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


def common(kinds: list) -> dict:
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
