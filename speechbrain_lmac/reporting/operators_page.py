"""Masking operators: rank agreement of methods, and scores of random masks."""

from collections.abc import Sequence
from itertools import combinations

import pandas as pd
from scipy.stats import kendalltau

from speechbrain_lmac.explainers.by_name import RANDOM
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.metrics.checks.replacement import OPERATORS
from speechbrain_lmac.reporting.markdown import MarkdownPage, placed, table_lines
from speechbrain_lmac.reporting.paper_order import is_control
from speechbrain_lmac.reporting.tables import interval, title

LEAST_METHODS = 3  # of two methods Kendall's tau is 1 or -1
ROLES = ("AD", "FF")  # of the columns of an operator
NOTE = (
    "Zero: removed cells are 0, as in the papers. Noise, replacement: they hold noise, "
    "or a clip of another class. tau: Kendall's rank correlation of the means of the "
    "methods, controls excluded; 1 is the same order. The scores of random masks are "
    "the bias of the operator."
)


def rank_agreement(summary: pd.DataFrame, scores: Sequence[Score]) -> pd.DataFrame:
    """Return the agreement of the order of methods between masking operators.

    Arguments
    ---------
    summary : pandas.DataFrame
        From `statistics.summarise`. Controls are excluded, and methods without a mean
        under one of the two operators.
    scores : sequence of Score
        Columns of the summary. Operators without both of their scores are skipped.

    Returns
    -------
    agreement : pandas.DataFrame
        A row per pair of operators: `first`, `second`, their names in `OPERATORS`;
        `AD`, `FF`: Kendall's tau-b of the methods' means, -1 to 1, NaN where all means
        are equal or with fewer than `LEAST_METHODS` methods; `AD methods`, `FF
        methods`: their number.

    Example
    -------
    One of three pairs of methods changes its order: tau = (2 - 1) / 3.

    >>> rows = {"method": ["IG", "SHAP", "L-MAC"], "AD": [30.0, 20.0, 10.0]}
    >>> rows |= {"AD noise": [60.0, 70.0, 40.0]}
    >>> rows |= {"FF": [0.1, 0.2, 0.3], "FF noise": [0.4, 0.5, 0.6]}
    >>> scores = [score for name in ("zero", "noise") for score in OPERATORS[name]]
    >>> rank_agreement(pd.DataFrame(rows), scores)[["AD", "FF"]].round(3)
          AD   FF
    0  0.333  1.0
    """
    methods = summary[~summary["method"].map(is_control)]
    rows = []
    for first, second in combinations(_operators(scores), 2):
        row: dict[str, object] = {"first": first, "second": second}
        for role, *pair in zip(ROLES, OPERATORS[first], OPERATORS[second], strict=True):
            means = methods[[score.name for score in pair]].dropna()
            enough = len(means) >= LEAST_METHODS
            tau = kendalltau(*means.to_numpy().T).statistic if enough else float("nan")
            row |= {role: tau, f"{role} methods": len(means)}
        rows.append(row)
    return pd.DataFrame(rows)


def add_operators(
    page: MarkdownPage, summary: pd.DataFrame, scores: Sequence[Score], **where: str
) -> None:
    """Add rank agreement and the scores of random masks, with two operators or more.

    Arguments
    ---------
    page : MarkdownPage
        Gets rows of `operators.csv`, too.
    summary : pandas.DataFrame
        From `statistics.summarise`.
    scores : sequence of Score
        Columns of the summary.
    **where : str
        Condition and block.
    """
    agreement = rank_agreement(summary, scores)
    if agreement.empty:
        return
    page.add_rows("operators", placed(agreement, **where))
    titles = ["operators", *(f"tau of {role} (methods)" for role in ROLES)]
    page.add(table_lines(titles, map(_agreement_cells, agreement.to_dict("records"))))
    random = summary[summary["method"].str.startswith(RANDOM)]
    if len(random):
        rows = [
            [row["method"], name, *(interval(row, score) for score in OPERATORS[name])]
            for _, row in random.iterrows()
            for name in _operators(scores)
        ]
        titles = ["method", "operator", *map(title, OPERATORS["zero"])]
        page.add(table_lines(titles, rows))
    page.add(NOTE)


def _operators(scores: Sequence[Score]) -> list[str]:
    """Return the names of the operators of which both scores are columns."""
    columns = {score.name for score in scores}
    return [
        name
        for name, pair in OPERATORS.items()
        if columns.issuperset(score.name for score in pair)
    ]


def _agreement_cells(row: dict) -> list[str]:
    """Return the cells of a row of `rank_agreement`."""
    cells = [f"{row['first']}, {row['second']}"]
    for role in ROLES:
        tau = "–" if pd.isna(row[role]) else f"{row[role]:.2f}"
        cells.append(f"{tau} ({row[f'{role} methods']})")
    return cells
