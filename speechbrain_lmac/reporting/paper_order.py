"""The order of methods in the papers' tables, and which of them are controls."""

import pandas as pd

CONTROLS = ("random cells", "random blocks", "all ones")
# Rows in the order of the papers' tables; what they do not have follows.
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
    """The rows of a summary as the papers' tables have them; others keep their order.

    Example
    -------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"method": ["all ones", "L-MAC", "IG"]})
    >>> in_paper_order(rows)["method"].tolist()
    ['IG', 'L-MAC', 'all ones']
    """
    place = {method: index for index, method in enumerate(PAPER_ORDER)}
    places = summary["method"].map(lambda method: place.get(method, len(place)))
    return summary.iloc[places.argsort(kind="stable")]


def is_control(method: str) -> bool:
    """Whether a row is a control, also where its name says of which block.

    Example
    -------
    >>> is_control("all ones"), is_control("all ones, TD"), is_control("L-MAC")
    (True, True, False)
    """
    return method.startswith(CONTROLS)


def best_of(summary: pd.DataFrame, metric) -> list[str]:
    """The methods with the best mean; none without a direction, and no control.

    A mask of ones has the best AD and Fid-In there are: it says nothing.
    """
    rows = summary[~summary["method"].map(is_control)]
    values = rows[metric.name]
    if metric.higher_is_better is None or not values.notna().any():
        return []
    best = values.max() if metric.higher_is_better else values.min()
    return rows.loc[values == best, "method"].tolist()
