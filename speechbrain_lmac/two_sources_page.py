"""The page and the tables of an evaluation on mixtures of two sources."""

from pathlib import Path

import pandas as pd

from speechbrain_lmac.comparison import compare
from speechbrain_lmac.csv_files import write_csv
from speechbrain_lmac.files import write_text
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.summary import summarise
from speechbrain_lmac.tables import (
    COMPARISON,
    comparison_table,
    descriptions,
    markdown_table,
)
from speechbrain_lmac.two_sources import ABSENT, BOTH, NEARER, SCORES, SIZE, TARGET

LESS_ABSENT = Score(
    name="MM A, B less absent",
    higher_is_better=True,
    unit="",
    description="the mean of the mask means for A and B less that for the class that "
    "is not there, mixture by mixture: 0 for a mask that is as large for any class",
)
COUNTS = {
    "n": "mixtures",
    "empty": "empty",
    "non_finite": "non-finite",
    "seconds_per_clip": "s/mixture",
}
HOW_TO_READ = (
    "Mean [95 % interval, percentile bootstrap over mixtures] of the mixtures with a "
    "finite score; ↑ higher is better, ↓ lower is better. A is the clip, B what was "
    "added to it. Empty: mixtures with a mask that is 0 everywhere. Non-finite: "
    "mixtures without one of the scores. s/mixture: time to explain and score, three "
    "questions. Mixtures share clips, so the intervals are a little too narrow."
)


def write_two_sources(folder, rows, header, seed, reference=None):
    """Write `per_clip.csv`, `summary.csv`, `comparison.csv`, `summary.md`, atomically.

    Everything is told twice: of all mixtures, and of those whose two classes are the
    two that the classifier finds likeliest, which it can be said to hear.

    Arguments
    ---------
    folder : str or Path
    rows : pandas.DataFrame
        From `two_source_rows`, with the columns `condition` and `block` before.
    header : list
        Of str: the command, the data, the seed, the versions.
    seed : int
        Of the bootstraps.
    reference : str, optional
        The method that the others are compared with, mixture by mixture.
    """
    folder = Path(folder)
    rows = rows.assign(**{LESS_ABSENT.name: less_absent(rows)})
    write_csv(rows, folder / "per_clip.csv")
    lines = ["# Two sources", "", *(f"- {line}" for line in header), ""]
    asked = (*TARGET, *SIZE, LESS_ABSENT, ABSENT)
    summaries, comparisons = [], []
    for (condition, block), here in rows.groupby(["condition", "block"], sort=False):
        for title, part in (
            ("all mixtures", here),
            ("both classes among the two likeliest", here[here["top_two"]]),
        ):
            n_mixtures = part["id"].nunique()
            lines += [f"## {condition}, {block}: {title} ({n_mixtures})", ""]
            if not n_mixtures:
                lines += ["None.", ""]
                continue
            where = {"condition": condition, "block": block, "mixtures": title}
            summary = summarise(part, (*SCORES, LESS_ABSENT), seed=seed)
            summaries.append(placed(summary, where))
            lines += [*markdown_table(summary, (*NEARER, BOTH), COUNTS), ""]
            lines += [*markdown_table(summary, asked), ""]
            lines += [verdict(summary), ""]
            if reference in set(part["method"]):
                compared = compare(part, reference, (*NEARER, BOTH), seed=seed)
                comparisons.append(placed(compared, where))
                lines += comparison_table(compared, reference, (*NEARER, BOTH))
                lines += ["", COMPARISON]
                lines += [""]
    write_csv(pd.concat(summaries, ignore_index=True), folder / "summary.csv")
    if comparisons:
        compared = pd.concat(comparisons, ignore_index=True)
        write_csv(compared, folder / "comparison.csv")
    lines += [HOW_TO_READ, "", *descriptions((*SCORES, LESS_ABSENT))]
    write_text("\n".join(lines) + "\n", folder / "summary.md")


def less_absent(rows):
    """`LESS_ABSENT` of rows of `judge`.

    Example
    -------
    >>> rows = {"MM A": [0.25, 0.0], "MM B": [0.75, 0.0], "MM absent": [0.25, 0.5]}
    >>> less_absent(pd.DataFrame(rows)).tolist()
    [0.25, -0.5]
    """
    return (rows["MM A"] + rows["MM B"]) / 2 - rows["MM absent"]


def placed(table, where):
    """A table with what it is about in front."""
    return table.assign(**where)[[*where, *table.columns]]


def verdict(summary):
    """A line that names the methods which follow the question.

    Example
    -------
    >>> limits = {"nearer A_low": [0.5, -2.0], "nearer B_low": [0.1, 1.0]}
    >>> verdict(pd.DataFrame({"method": ["asked", "deaf"], **limits}))
    'Nearer to A when asked for A and to B when asked for B, both intervals above 0: \
asked.'
    """
    follows = (summary[[f"{score.name}_low" for score in NEARER]] > 0).all(axis=1)
    names = ", ".join(summary.loc[follows, "method"]) or "no method"
    return (
        "Nearer to A when asked for A and to B when asked for B, both intervals above "
        f"0: {names}."
    )
