"""Results page of remove and retrain (ROAR)."""

from collections.abc import Sequence

import pandas as pd

from speechbrain_lmac.reporting.markdown import MarkdownPage, table_lines

HOW_TO_READ = (
    "Accuracy in % on the test clips: mean (minimum to maximum) of {} retrainings, "
    "with the top-ranked cells replaced by the mean of their bin over training clips. "
    "Lower is better: more of the evidence for the classes was in the removed cells."
)


def roar_page(
    rows: pd.DataFrame, header: Sequence[str], repeats: int, picture: str
) -> MarkdownPage:
    """Return the page of remove and retrain.

    Arguments
    ---------
    rows : pandas.DataFrame
        From `roar.remove_and_retrain`.
    header : sequence of str
        Command, data, seed and versions.
    repeats : int
        Number of retrainings per method and share.
    picture : str
        File name of the figure, in the folder of the page.

    Returns
    -------
    page : MarkdownPage
    """
    page = MarkdownPage("Remove and retrain", header)
    page.add(roar_table(rows), f"![Accuracy after removal]({picture})")
    page.add(HOW_TO_READ.format(repeats))
    return page


def roar_table(rows: pd.DataFrame) -> list[str]:
    """Return a Markdown table of accuracy (%): a row per method, a column per share."""
    shares = sorted(rows["share"].unique())
    head = ["method", *(f"{100 * share:g} % removed" for share in shares)]
    lines = []
    for method, group in rows.groupby("method", sort=False):
        cells = []
        for share in shares:
            values = 100 * group.loc[group["share"] == share, "accuracy"]
            shown = f"{values.mean():.1f} ({values.min():.1f} to {values.max():.1f})"
            cells.append(shown if len(values) else "")
        lines.append([method, *cells])
    return table_lines(head, lines)
