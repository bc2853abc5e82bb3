"""Results page and tables of an evaluation on mixtures of two sources."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from speechbrain_lmac.evaluation.paired_tests import compare
from speechbrain_lmac.evaluation.statistics import summarise
from speechbrain_lmac.evaluation.two_sources import (
    ABSENT,
    BOTH,
    NEARER,
    SCORES,
    SIZE,
    TARGET,
)
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.reporting.markdown import MarkdownPage, placed
from speechbrain_lmac.reporting.tables import (
    comparison_note,
    comparison_table,
    descriptions,
    markdown_table,
)

LESS_ABSENT = Score(
    name="MM A, B less absent",
    higher_is_better=True,
    unit="",
    description="average of the mask means for A and B minus that for an absent class, "
    "per mixture: 0 if the mask has the same size for every class",
)
COUNTS = {
    "n": "mixtures",
    "empty": "empty",
    "non_finite": "non-finite",
    "seconds_per_clip": "s/mixture",
}
HOW_TO_READ = (
    "Mean [95 % interval, percentile bootstrap over the clips A, each with all its "
    "mixtures] of the mixtures with a finite score; ↑ higher is better, ↓ lower is "
    "better. A is the clip, B what was added to it. Empty: mixtures with a mask that "
    "is 0 everywhere. Non-finite: mixtures without one of the scores. s/mixture: time "
    "to explain and score, three questions. A clip B in several mixtures counts as "
    "several, so the intervals are a little too narrow."
)


def write_two_sources(
    folder: str | Path,
    rows: pd.DataFrame,
    header: Sequence[str],
    seed: int,
    reference: str | None = None,
) -> None:
    """Write `per_clip.csv`, `summary.csv`, `comparison.csv`, `summary.md`, atomically.

    There are tables for all mixtures, and for those whose two classes are the two most
    probable ones according to the classifier.

    Arguments
    ---------
    folder : str or Path
    rows : pandas.DataFrame
        From `two_source_rows`, after the columns `condition` and `block`, with `clip`,
        the id of A.
    header : sequence of str
        Command, data, seed and versions.
    seed : int
        Seed of the bootstraps.
    reference : str, optional
        The method that the others are compared with, paired by mixture.
    """
    rows = rows.assign(**{LESS_ABSENT.name: less_absent(rows)})
    page = MarkdownPage("Two sources", header)
    page.add_rows("per_clip", rows)
    target_scores = (*TARGET, *SIZE, LESS_ABSENT, ABSENT)
    for (condition, block), here in rows.groupby(["condition", "block"], sort=False):
        for title, part in (
            ("all mixtures", here),
            ("both classes among the two likeliest", here[here["top_two"]]),
        ):
            n_mixtures = part["id"].nunique()
            page.add(f"## {condition}, {block}: {title} ({n_mixtures})")
            if not n_mixtures:
                page.add("None.")
                continue
            where = {"condition": condition, "block": block, "mixtures": title}
            summary = summarise(part, (*SCORES, LESS_ABSENT), seed=seed)
            page.add_rows("summary", placed(summary, **where))
            page.add(
                markdown_table(summary, (*NEARER, BOTH), COUNTS),
                markdown_table(summary, target_scores),
                verdict(summary),
            )
            if reference is not None and reference in set(part["method"]):
                compared = compare(part, reference, (*NEARER, BOTH), seed=seed)
                page.add_rows("comparison", placed(compared, **where))
                table = comparison_table(compared, reference, (*NEARER, BOTH))
                page.add(table, comparison_note(compared))
    page.add(HOW_TO_READ, descriptions((*SCORES, LESS_ABSENT)))
    page.write(Path(folder) / "summary.md")


def less_absent(rows: pd.DataFrame) -> pd.Series:
    """Return `LESS_ABSENT` of rows of `two_source_rows`.

    Example
    -------
    >>> import pandas as pd
    >>> rows = {"MM A": [0.25, 0.0], "MM B": [0.75, 0.0], "MM absent": [0.25, 0.5]}
    >>> less_absent(pd.DataFrame(rows)).tolist()
    [0.25, -0.5]
    """
    return (rows["MM A"] + rows["MM B"]) / 2 - rows["MM absent"]


def verdict(summary: pd.DataFrame) -> str:
    """Return a line with the methods whose masks follow the target.

    Example
    -------
    >>> import pandas as pd
    >>> limits = {"nearer A_low": [0.5, -2.0], "nearer B_low": [0.1, 1.0]}
    >>> verdict(pd.DataFrame({"method": ["a", "b"], **limits}))
    'Closer to the source of the target, for A and for B, both intervals above 0: a.'
    """
    follows = (summary[[f"{score.name}_low" for score in NEARER]] > 0).all(axis=1)
    names = ", ".join(summary.loc[follows, "method"]) or "no method"
    return (
        "Closer to the source of the target, for A and for B, both intervals above 0: "
        f"{names}."
    )
