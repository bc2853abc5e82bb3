"""Row order of the papers' tables, and uninformative baselines (controls)."""

import pandas as pd

from speechbrain_lmac.metrics import Score

CONTROLS = (
    *("random cells", "random blocks", "all ones", "energy", "other clip"),
    *("wrong class", "equal-size optimum", "ideal mask", "ideal ratio mask"),
)
# Chance level and bound of the checks: the first rows of their tables.
BOUNDS = ("all ones", "ideal mask")
# Row order of the papers' tables; other rows follow.
PAPER_ORDER = (
    "Saliency",
    "SmoothGrad",
    "IG",
    "GradCAM",
    "GradCAM++",
    "Guided GradCAM",
    "Guided Backprop",
    "L2I, RT=0.2",
    "L2I, RT=0.4",
    "SHAP",
    "L-MAC",
    "L-MAC FT, lambda_g=4",
    "L-MAC FT, lambda_g=16",
)


def in_paper_order(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a summary in the papers' order, then all others.

    Example
    -------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"method": ["all ones", "L-MAC", "IG"]})
    >>> in_paper_order(rows)["method"].tolist()
    ['IG', 'L-MAC', 'all ones']
    """
    rank = {method: index for index, method in enumerate(PAPER_ORDER)}
    ranks = summary["method"].map(lambda method: rank.get(method, len(rank)))
    return summary.iloc[ranks.argsort(kind="stable")]


def bounds_first(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `BOUNDS`, then those of `in_paper_order`.

    Example
    -------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"method": ["L-MAC", "ideal mask", "all ones"]})
    >>> bounds_first(rows)["method"].tolist()
    ['all ones', 'ideal mask', 'L-MAC']
    """
    summary = in_paper_order(summary)
    place = {method: index for index, method in enumerate(BOUNDS)}
    places = summary["method"].map(lambda method: place.get(method, len(place)))
    return summary.iloc[places.argsort(kind="stable")]


def is_control(method: str) -> bool:
    """Return whether a method is a control; its name may end in the block's name.

    Example
    -------
    >>> is_control("all ones"), is_control("all ones, TD"), is_control("L-MAC")
    (True, True, False)
    """
    return method.startswith(CONTROLS)


def best_of(summary: pd.DataFrame, metric: Score) -> list[str]:
    """Return the methods with the best mean; [] for a score without a direction.

    Controls are excluded: an all-ones mask has the best possible AD and Fid-In.
    """
    rows = summary[~summary["method"].map(is_control)]
    values = rows[metric.name]
    if metric.higher_is_better is None or not values.notna().any():
        return []
    best = values.max() if metric.higher_is_better else values.min()
    return rows.loc[values == best, "method"].tolist()
