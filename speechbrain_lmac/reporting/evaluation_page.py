"""Results page and tables of an evaluation."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from speechbrain_lmac.evaluation.benchmark import Benchmark
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
    Score,
)
from speechbrain_lmac.metrics.curves import CURVES
from speechbrain_lmac.metrics.separation import IRM_OVERLAP
from speechbrain_lmac.plots.charts import write_curves
from speechbrain_lmac.reporting.latex import latex_table
from speechbrain_lmac.reporting.markdown import MarkdownPage, placed
from speechbrain_lmac.reporting.operators_page import add_operators
from speechbrain_lmac.reporting.paper_order import bounds_first, is_control
from speechbrain_lmac.reporting.published import WARNINGS, published_numbers
from speechbrain_lmac.reporting.sanity_page import add_sanity
from speechbrain_lmac.reporting.tables import (
    COUNTS,
    HOW_TO_READ,
    comparison_note,
    comparison_table,
    descriptions,
    markdown_table,
    published_table,
    verdict,
)
from speechbrain_lmac.utils.errors import InputError
from speechbrain_lmac.utils.files import write_text

Kinds = Mapping[str, Sequence[Score]]  # from `Benchmark.scores`
CHECKS_NOTE = (
    "Checks. The first rows are masks of ones, the chance level of imprints, and the "
    "ideal mask where the stems are known."
)
# Scores of the mask itself, which are not comparable across domains.
MASK_SCORES = (SPS, COMP, MM, IRM_OVERLAP)
# Scores by which the papers compare methods.
FAITHFULNESS = (AI, AD, AG, FID_IN)


def write_results(
    folder: str | Path,
    benchmark: Benchmark,
    per_clip: pd.DataFrame,
    header: Sequence[str],
    seed: int,
    reference: str | None = None,
    published: str | None = None,
    sanity: pd.DataFrame | None = None,
    together: Sequence[str] = (),
) -> None:
    """Write the tables, figures and page of an evaluation, each file atomically.

    `per_clip.csv`, `summary.csv`, `summary.md`, `summary.tex`; `comparison.csv` with a
    reference; `curves.csv` and a figure for each condition and block with curves;
    `operators.csv` with checks of masking operators; `sanity.csv` and a figure for each
    block with a sanity check. CSV files have full precision (`pandas.read_csv` of
    pandas 3 restores the exact numbers).

    Arguments
    ---------
    folder : str or Path
        Created if missing.
    benchmark : Benchmark
    per_clip : pandas.DataFrame
        From `Benchmark.score`.
    header : sequence of str
        Command, data, seed and versions.
    seed : int
        Seed of the bootstraps.
    reference : str, optional
        The method that the others are compared with, paired by clip.
    published : str, optional
        Published scores for comparison, see `published.published_numbers`.
    sanity : pandas.DataFrame, optional
        From `Benchmark.check_sanity`.
    together : sequence of str
        Blocks to compare in an additional joint table, on the scores they have in
        common, except those of the masks (`MASK_SCORES`).

    Raises
    ------
    InputError
        For an unknown block.
    """
    for block in set(together) - set(benchmark.blocks):
        raise InputError(
            f"together: unknown block {block!r}, expected some of "
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
            by_block = [benchmark.scores(condition, block) for block in together]
            name = " and ".join(together)
            page.add_block(condition, name, joined_rows(rows), common_scores(by_block))
        columns = [m for m in benchmark.metrics if m is not AD_DOUBLE_SOFTMAX]
        caption = f"{condition}: {about}"
        page.latex.append(latex_table(summaries, caption, columns))
    if sanity is not None:
        title = "Sanity check: randomised classifier"
        add_sanity(page, sanity, page.folder, seed, title)
    page.finish()


class EvaluationPage(MarkdownPage):
    """The page of `write_results`: text, tables and figures.

    Arguments
    ---------
    folder : Path
    header : sequence of str
    seed : int
    reference, published : str or None
        See `write_results`.
    """

    def __init__(
        self,
        folder: Path,
        header: Sequence[str],
        seed: int,
        reference: str | None,
        published: str | None,
    ) -> None:
        super().__init__("Evaluation", header)
        self.folder = folder
        self.seed = seed
        self.reference = reference
        self.published = published
        self.numbers = None if published is None else published_numbers(published)
        self.latex: list[str] = []
        self._used: dict[str, Score] = {}

    def add_block(
        self, condition: str, block: str, rows: pd.DataFrame, kinds: Kinds
    ) -> pd.DataFrame:
        """Add the tables of a condition and block.

        Arguments
        ---------
        condition, block : str
        rows : pandas.DataFrame
            Their rows of `Benchmark.score`.
        kinds : dict
            From `Benchmark.scores`.

        Returns
        -------
        summary : pandas.DataFrame
            From `statistics.summarise`.
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
        checks = [
            markdown_table(summary, columns, order=bounds_first)
            for kind, columns in kinds.items()
            if kind.startswith("check") and columns
        ]
        self.add(*([CHECKS_NOTE] if checks else []), *checks)
        add_operators(self, summary, scores, condition=condition, block=block)
        if self.published is not None and self.numbers is not None:
            lines = published_table(summary, self.numbers, condition, block, scores)
            if lines:
                self.add(lines, WARNINGS[self.published])
        if self.reference is not None and self.reference in set(rows["method"]):
            self._compare(self.reference, condition, block, rows, kinds, summary)
        return summary

    def _compare(
        self,
        reference: str,
        condition: str,
        block: str,
        rows: pd.DataFrame,
        kinds: Kinds,
        summary: pd.DataFrame,
    ) -> None:
        """Compare the reference with the other methods, paired by clip."""
        scores = [score for kind in kinds.values() for score in kind]
        compared = compare(rows, reference, scores, seed=self.seed)
        self.add_rows("comparison", placed(compared, condition=condition, block=block))
        tables = [
            comparison_table(compared, reference, kinds[kind])
            for kind in ("metrics", "truth")
        ]
        if any(tables):
            self.add(*tables, comparison_note(compared))
        if all(m == reference or is_control(m) for m in summary["method"]):
            self.add(f"{reference} is compared with controls only.")
            return
        for title, leading in (
            ("", [metric for metric in kinds["metrics"] if metric in FAITHFULNESS]),
            ("With known sources: ", kinds["truth"]),
            ("At equal mask sizes: ", kinds["areas"]),
        ):
            line = verdict(summary, compared, reference, leading)
            self.add(f"{title}{line}" if line else "")

    def add_curves(self, condition: str, block: str, curves: pd.DataFrame) -> None:
        """Add curves and their figure.

        Arguments
        ---------
        condition, block : str
        curves : pandas.DataFrame
            From `statistics.curves_of`.
        """
        names = [score.name for score in CURVES]
        means = means_by(curves, ["method", "share"], names, seed=self.seed)
        self.add_rows("curves", placed(means, condition=condition, block=block))
        picture = f"curves_{condition}_{block}.png"
        write_curves(means, CURVES, self.folder / picture, f"{condition}, {block}")
        self.add(f"![Faithfulness at equal mask sizes]({picture})")

    def finish(self) -> None:
        """Add notes and score descriptions, and write the page and its tables."""
        self.add(HOW_TO_READ, descriptions(self._used.values()))
        self.write(self.folder / "summary.md")
        write_text("\n".join(self.latex), self.folder / "summary.tex")


def rows_of(per_clip: pd.DataFrame, condition: str, block: str) -> pd.DataFrame:
    """Return the rows of a condition and block.

    Arguments
    ---------
    per_clip : pandas.DataFrame
        From `Benchmark.score`.
    condition, block : str

    Returns
    -------
    rows : pandas.DataFrame
    """
    here = per_clip["condition"].eq(condition) & per_clip["block"].eq(block)
    return per_clip[here]


def joined_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Append the block name to the names of methods that occur in several blocks.

    Example
    -------
    >>> rows = {"block": ["STFT", "Mel", "Mel"], "method": ["all ones"] * 2 + ["L-MAC"]}
    >>> joined_rows(pd.DataFrame(rows))["method"].tolist()
    ['all ones, STFT', 'all ones, Mel', 'L-MAC']
    """
    shared = rows.groupby("method")["block"].transform("nunique") > 1
    return rows.assign(
        method=rows["method"].where(~shared, rows["method"] + ", " + rows["block"])
    )


def common_scores(kinds: Sequence[Kinds]) -> Kinds:
    """Return the scores common to all blocks, except `MASK_SCORES`.

    Arguments and result are dicts by kind, as from `Benchmark.scores`.
    """
    return {
        kind: [
            score
            for score in scores
            if score not in MASK_SCORES
            and all(score in others[kind] for others in kinds)
        ]
        for kind, scores in kinds[0].items()
    }
