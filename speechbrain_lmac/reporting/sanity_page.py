"""Page section on the sanity check with a randomised classifier."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from speechbrain_lmac.evaluation.paired_tests import means_by
from speechbrain_lmac.evaluation.randomisation import SIMILARITIES
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.plots.charts import write_sanity
from speechbrain_lmac.reporting.markdown import MarkdownPage, row_of, table_lines
from speechbrain_lmac.reporting.paper_order import in_paper_order


def add_sanity(
    page: MarkdownPage,
    sanity: pd.DataFrame,
    folder: Path,
    seed: int,
    title: str,
    about: str = "{block}",
) -> None:
    """Add a table and a figure for each block, and the rows of `sanity.csv`.

    Arguments
    ---------
    page : MarkdownPage
    sanity : pandas.DataFrame
        From `Benchmark.check_sanity`.
    folder : Path
        Folder of the figures `sanity_BLOCK.png`.
    seed : int
        Seed of the bootstrap.
    title : str
        Title of the section.
    about : str
        Title of a block, a format string with `block` and `n_clips`.
    """
    page.add_rows("sanity", sanity)
    page.add(f"## {title}")
    names = [score.name for score in SIMILARITIES]
    for block, table in sanity.groupby("block", sort=False):
        means = means_by(table, ["method", "step", "layer"], names, seed=seed)
        picture = f"sanity_{block}.png"
        write_sanity(means, SIMILARITIES, folder / picture, block)
        page.add(
            "### " + about.format(block=block, n_clips=table["id"].nunique()),
            sanity_table(means, SIMILARITIES),
            f"![Similarity to the masks before randomisation]({picture})",
        )


def sanity_table(means: pd.DataFrame, scores: Sequence[Score]) -> list[str]:
    """Return a Markdown table of similarities, one and all layers randomised.

    Arguments
    ---------
    means : pandas.DataFrame
        Result of `randomisation.randomisation_check`, averaged by
        `paired_tests.means_by` over the keys `method step layer`.
    scores : sequence of Score
    """
    first, last = means["step"].eq(1), means["step"].eq(means["step"].max())
    layers = [means.loc[rows, "layer"].iloc[0] for rows in (first, last)]
    titles = ["method"]
    for score in scores:
        titles += [f"{score.name}, {layers[0]} random", f"{score.name}, all random"]
    lines = table_lines(titles)
    for method in in_paper_order(means.drop_duplicates("method"))["method"]:
        cells = [method]
        for score in scores:
            for rows in (first, last):
                here = rows & means["method"].eq(method)
                row = means[here & means["score"].eq(score.name)].iloc[0]
                cells.append(f"{row['mean']:.2f} [{row['low']:.2f}, {row['high']:.2f}]")
        lines.append(row_of(cells))
    return lines
