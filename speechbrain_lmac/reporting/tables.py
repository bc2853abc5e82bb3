"""Markdown tables of summaries: means with their intervals."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from speechbrain_lmac.metrics import Score
from speechbrain_lmac.reporting.markdown import row_of, table_lines
from speechbrain_lmac.reporting.paper_order import in_paper_order, is_control

COUNTS = {
    "n": "clips",
    "empty": "empty",
    "non_finite": "non-finite",
    "saturated": "saturated",
    "seconds_per_clip": "s/clip",
}
# Compared with published scores; their AD is AD-double-softmax, see docs/methods.md.
COMPARED = ("AI", "AD-double-softmax", "AG", "FF", "Fid-In", "SPS", "COMP")

HOW_TO_READ = (
    "Mean [95 % interval, percentile bootstrap over clips, each with all its mixtures] "
    "of those with a finite score; ↑ higher is better, ↓ lower is better. Clips: each "
    "mixture of a clip counts. Empty: masks that are 0 everywhere. "
    "Non-finite: clips without one of the scores that every clip should have. "
    "(n): a check that only n clips have. "
    "Saturated: clips with nothing to "
    "gain. s/clip: time to explain, not to score. p, p_in, p_out: probability of the "
    "explained class for the whole clip, the explanation alone, and the rest."
)


def markdown_table(
    summary: pd.DataFrame,
    scores: Sequence[Score],
    counts: Mapping[str, str] | None = None,
    order: Callable[[pd.DataFrame], pd.DataFrame] = in_paper_order,
) -> list[str]:
    """Return a Markdown table: a row per method, mean and interval of each score.

    Arguments
    ---------
    summary : pandas.DataFrame
        From `statistics.summarise`.
    scores : sequence of Score
    counts : dict, optional
        Further columns of the summary, with their titles.
    order : callable
        Sorts the rows of the summary.

    Returns
    -------
    lines : list of str
    """
    counts = counts or {}
    titles = ["method", *map(title, scores), *counts.values()]
    lines = table_lines(titles)
    for _, row in order(summary).iterrows():
        cells = [row["method"], *(interval(row, score) for score in scores)]
        cells += [f"{row[count]:.3g}" for count in counts]
        lines.append(row_of(cells))
    return lines


# Comparisons with a smaller q are marked; q is p adjusted for the false discovery rate.
SIGNIFICANT = 0.001


def published_table(
    summary: pd.DataFrame,
    published: pd.DataFrame,
    condition: str,
    block: str,
    metrics: Sequence[Score],
) -> list[str]:
    """Return a Markdown table of our means next to the published ones.

    Arguments
    ---------
    summary : pandas.DataFrame
        Summary of this condition and block.
    published : pandas.DataFrame
        From `published.published_numbers`.
    condition, block : str
        Select rows of `published`.
    metrics : sequence of Score

    Returns
    -------
    lines : list of str
        [] if none of the methods was published.
    """
    here = published["condition"].eq(condition) & published["block"].eq(block)
    theirs = published[here].set_index("method")
    rows = [
        r for _, r in in_paper_order(summary).iterrows() if r["method"] in theirs.index
    ]
    if not rows:
        return []
    known = {metric.name: metric for metric in metrics}
    shown = [known[name] for name in COMPARED if name in known]
    titles = ["method"]
    for metric in shown:
        titles += [f"{metric.name} here", "published"]
    lines = table_lines(titles)
    for row in rows:
        cells = [row["method"]]
        for metric in shown:
            published_mean = theirs.loc[row["method"], metric.name]
            cells += [number(row[metric.name], metric), number(published_mean, metric)]
        lines.append(row_of(cells))
    return lines


def comparison_table(
    comparison: pd.DataFrame, reference: str, scores: Sequence[Score]
) -> list[str]:
    """Return a Markdown table: reference minus every other method, by clip.

    Arguments
    ---------
    comparison : pandas.DataFrame
        From `paired_tests.compare`.
    reference : str
        The reference method.
    scores : sequence of Score
        Columns; scores without a direction are skipped.

    Returns
    -------
    lines : list of str
        [] if there is no other method, or no score with a direction.
    """
    shown = [score for score in scores if score.higher_is_better is not None]
    if not shown or comparison.empty:
        return []
    titles = [f"{reference} minus", *map(title, shown)]
    lines = table_lines(titles)
    rows = comparison.set_index(["method", "metric"])
    for method in in_paper_order(comparison.drop_duplicates("method"))["method"]:
        cells = [method]
        for score in shown:
            row = rows.loc[(method, score.name)]
            cell = with_limits(row["difference"], row["low"], row["high"], score)
            cells.append(f"{cell}*" if row["q"] < SIGNIFICANT else cell)
        lines.append(row_of(cells))
    return lines


def comparison_note(comparison: pd.DataFrame) -> str:
    """Return the note under `comparison_table`.

    Arguments
    ---------
    comparison : pandas.DataFrame
        From `paired_tests.compare`.

    Returns
    -------
    note : str
        With the number of tests that q is adjusted for.
    """
    return (
        "Mean difference on the same clips [95 % interval, percentile bootstrap over "
        f"clips, each with all its mixtures]; * q < {SIGNIFICANT:g}: two-sided "
        "Wilcoxon signed-rank test of the clips' mean differences, adjusted for the "
        "false discovery rate (Benjamini-Hochberg) over "
        f"{comparison['p'].count()} tests. All values: comparison.csv."
    )


def verdict(
    summary: pd.DataFrame,
    comparison: pd.DataFrame,
    reference: str,
    scores: Sequence[Score],
) -> str:
    """Return a line that lists the scores on which a method leads, and its rivals.

    Controls are excluded. Means are compared as printed: equal digits are a tie.
    Differences are given with their paired interval over clips.

    Arguments
    ---------
    summary : pandas.DataFrame
        From `statistics.summarise`.
    comparison : pandas.DataFrame
        From `paired_tests.compare` with this reference.
    reference : str
        The method.
    scores : sequence of Score
        Columns of the summary; scores without a direction are skipped.

    Returns
    -------
    line : str
        "" if all other methods are controls, if no score has a direction, or if the
        reference has no mean.
    """
    means = summary.set_index("method")
    pairs = comparison.set_index(["metric", "method"])
    others = [m for m in means.index if m != reference and not is_control(m)]
    judged: list[str] = []
    leads: list[str] = []
    behind: list[str] = []
    level: list[str] = []
    without: list[str] = []
    for score in scores:
        own = means.loc[reference, score.name]
        with_score = [m for m in others if not math.isnan(means.loc[m, score.name])]
        if score.higher_is_better is None or math.isnan(own) or not with_score:
            continue
        judged.append(score.name)
        without += [f"{m} on {score.name}" for m in others if m not in with_score]
        ahead, tied = [], []
        for method in with_score:
            other = means.loc[method, score.name]
            if number(other, score) == number(own, score):
                tied.append(f"{method} on {score.name} ({number(own, score)})")
            elif (other > own) == score.higher_is_better:
                pair = pairs.loc[(score.name, method)]
                difference, low, high = (
                    number(value, score)
                    for value in pair[["difference", "low", "high"]]
                )
                ahead.append(
                    f"{method} on {score.name} ({number(other, score)} against "
                    f"{number(own, score)}; difference {difference} [{low}, {high}])"
                )
        if len(with_score) == len(others) and not ahead and not tied:
            leads.append(score.name)
        behind += ahead
        level += tied
    if not judged:
        return ""
    where = ", ".join(leads) or f"none of {', '.join(judged)}"
    controls = " (controls aside)" if any(map(is_control, means.index)) else ""
    line = f"{reference} leads every other method{controls} on {where}."
    for heading, methods in (
        ("Ahead of it", behind),
        ("Level with it", level),
        ("Without a value", without),
    ):
        line += f" {heading}: {'; '.join(methods)}." if methods else ""
    return line


def descriptions(scores: Iterable[Score]) -> list[str]:
    """Return a line with the description of each score."""
    return [f"- **{score.name}**: {score.description}." for score in scores]


def title(score: Score) -> str:
    """Return a column title: the name, and an arrow towards better values."""
    arrow = {True: " ↑", False: " ↓", None: ""}[score.higher_is_better]
    return f"{score.name}{arrow}"


def number(value: float, score: Score) -> str:
    """Format a mean with 2 decimals for percent, otherwise 3; – for NaN."""
    digits = 2 if score.unit == "%" else 3
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def interval(row: Mapping[str, Any] | pd.Series, score: Score) -> str:
    """Format the mean of a score in a row of a summary, `mean [low, high]`.

    Followed by `(n)`, the number of clips with a value (each mixture counts), if the
    score is partial and undefined for some clips.
    """
    mean, low, high = (row[f"{score.name}{end}"] for end in ("", "_low", "_high"))
    text = with_limits(mean, low, high, score)
    n = row[f"{score.name}_n"] if score.partial else 0
    return f"{text} ({n:.0f})" if 0 < n < row["n"] else text


def with_limits(mean: float, low: float, high: float, score: Score) -> str:
    """Format a mean with its interval, `mean [low, high]`.

    Arguments
    ---------
    mean, low, high : float
        NaN if there is none.
    score : Score
        Its unit determines the digits.

    Returns
    -------
    text : str
        "–" if the mean is NaN.
    """
    shown = [number(value, score) for value in (mean, low, high)]
    return "–" if math.isnan(mean) else f"{shown[0]} [{shown[1]}, {shown[2]}]"
