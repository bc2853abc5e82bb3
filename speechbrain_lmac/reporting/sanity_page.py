"""Page section on the sanity check with a randomised classifier."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from speechbrain_lmac.evaluation.paired_tests import compare, means_by
from speechbrain_lmac.evaluation.randomisation import SIMILARITIES
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.plots.charts import write_sanity
from speechbrain_lmac.reporting.markdown import MarkdownPage, row_of, table_lines
from speechbrain_lmac.reporting.paper_order import in_paper_order

# Pairs of methods. The papers report, without numbers, that the masks of the first
# change under randomisation and that those of the second hardly do (docs/methods.md,
# randomised classifiers).
CLAIMS = (("L-MAC", "GradCAM"), ("LMAC-ZS", "GradCAM++"))
READ_CLAIMS = (
    "The overlap falls if a mask only becomes weaker everywhere; Spearman does not, "
    "and SSIM falls little if the mask is nearly empty. A trained decoder keeps its "
    "weights here, so part of any similarity comes from the decoder "
    "(docs/methods.md, randomised classifiers)."
)


def add_sanity(
    page: MarkdownPage,
    sanity: pd.DataFrame,
    folder: Path,
    seed: int,
    title: str,
    about: str = "{block}",
) -> None:
    """Add a table and a figure for each block, and the rows of `sanity.csv`.

    Under a table are `claim_lines` for the methods of `CLAIMS`.

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
    # Rows of earlier versions have no overlap.
    scores = [score for score in SIMILARITIES if score.name in sanity]
    names = [score.name for score in scores]
    for block, table in sanity.groupby("block", sort=False):
        means = means_by(table, ["method", "step", "layer"], names, seed=seed)
        picture = f"sanity_{block}.png"
        write_sanity(means, scores, folder / picture, block)
        page.add(
            "### " + about.format(block=block, n_clips=table["id"].nunique()),
            sanity_table(means, scores),
            f"![Similarity to the masks before randomisation]({picture})",
        )
        lines = [
            claim_line(table, *pair, scores, seed)
            for pair in CLAIMS
            if set(pair) <= set(table["method"])
        ]
        page.add(*lines, READ_CLAIMS if lines else "")


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
                cells.append(_shown(row["mean"], row["low"], row["high"]))
        lines.append(row_of(cells))
    return lines


def claim_line(
    table: pd.DataFrame, ours: str, theirs: str, scores: Sequence[Score], seed: int
) -> str:
    """Return a line that compares two methods with all layers random.

    Arguments
    ---------
    table : pandas.DataFrame
        Rows of `Benchmark.check_sanity`, of one block, with both methods.
    ours, theirs : str
        The method whose masks change according to the paper, and that whose masks
        hardly do.
    scores : sequence
        `Score` objects of similarities.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    line : str
        Differences of the similarities on the same clips, each with its 95 % interval,
        and for each whether the masks of `ours` change less or more, or whether the
        interval includes 0.
    """
    last = table[table["step"] == table["step"].max()]
    compared = compare(last, ours, scores, seed=seed)
    rows = compared[compared["method"] == theirs].set_index("metric")
    differences = []
    groups: dict[str, list[str]] = {"less": [], "more": [], "": []}
    for score in scores:
        low, high = rows.loc[score.name, ["low", "high"]]
        shown = _shown(rows.loc[score.name, "difference"], low, high)
        differences.append(f"{score.name} {shown}")
        # A higher similarity is less change.
        groups["less" if low > 0 else "more" if high < 0 else ""].append(score.name)
    less, more, neither = (", ".join(groups[change]) for change in groups)
    line = (
        f"All layers random, {ours} minus {theirs} on the same clips: "
        f"{'; '.join(differences)}. The paper reports, without numbers, that the masks "
        f"of {ours} change and those of {theirs} hardly do."
    )
    if less:
        line += f" By {less}, the masks of {ours} change less: the opposite."
    if more:
        line += f" By {more}, the masks of {ours} change more, as reported."
    if neither:
        line += f" By {neither}, the interval of the difference includes 0."
    return line


def _shown(mean: float, low: float, high: float) -> str:
    """Format a similarity or a difference, `mean [low, high]`; – for NaN."""
    return "–" if math.isnan(mean) else f"{mean:.2f} [{low:.2f}, {high:.2f}]"
