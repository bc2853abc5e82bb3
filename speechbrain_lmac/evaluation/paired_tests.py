"""Comparisons of methods: paired differences on the same clips, means by group.

Results do not depend on the order of the rows. Missing and non-finite scores are
counted.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from speechbrain_lmac.evaluation.statistics import bootstrap_interval
from speechbrain_lmac.metrics import Score
from speechbrain_lmac.utils.errors import InputError, some_of


def compare(
    per_clip: pd.DataFrame,
    reference: str,
    metrics: Sequence[Score],
    n_boot: int = 2000,
    seed: int = 1234,
) -> pd.DataFrame:
    """Compare one method with every other method, paired by clip.

    Arguments
    ---------
    per_clip : pandas.DataFrame
        One row per clip and method with the columns `id`, `method` and a column for
        each metric, as from `evaluate.evaluate`, of one condition: an id occurs once
        per method.
    reference : str
        The method that is compared with the others.
    metrics : sequence of Score
        Only name and direction are used.
    n_boot : int
        Resamples of the bootstrap.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    comparison : pandas.DataFrame
        One row per other method and metric, in the order of `per_clip` and of
        `metrics`:

        - `reference`, `method`, `metric`;
        - `n`: number of clips with a finite score for both methods; `difference` and
          the columns after it use only these clips;
        - `missing`: number of clips with a row for only one of the two methods;
        - `non_finite`: number of clips with rows for both, but a non-finite score;
        - `difference`: mean of the reference's score minus the method's, with the 95 %
          interval `low`, `high` (percentile bootstrap over clips);
        - `p`: p value of the two-sided Wilcoxon signed-rank test (`signed_rank_p`), not
          corrected for multiple comparisons;
        - `reference_better`: whether the sign of the difference favours the reference.
          False for 0, missing if the metric has no direction or n is 0.

    Raises
    ------
    InputError
        For an unknown method, a missing column, or several rows for a method and id.
    """
    methods = list(per_clip["method"].unique())
    if reference not in methods:
        raise InputError(
            f"unknown method {reference!r}, expected one of {', '.join(methods)}"
        )
    names = [metric.name for metric in metrics]
    _check_columns(per_clip, names)
    twice = per_clip[per_clip.duplicated(["method", "id"])]
    if len(twice):
        repeated = [f"{row.method}: {row.id}" for row in twice.itertuples()]
        raise InputError(
            "each method must have one row per clip, got more for "
            f"{some_of(repeated)}. Compare the clips of one condition at a time"
        )
    of_method = {
        method: rows.set_index("id") for method, rows in per_clip.groupby("method")
    }
    ours = of_method[reference]
    table = []
    for method in methods:
        if method == reference:
            continue
        theirs = of_method[method]
        shared = ours.index.intersection(theirs.index)
        missing = len(ours.index.symmetric_difference(theirs.index))
        for metric in metrics:
            pairs = [
                rows.loc[shared, metric.name].to_numpy(float) for rows in (ours, theirs)
            ]
            finite = np.isfinite(pairs).all(axis=0)
            # Sorted, so that the order of the clips does not affect the results.
            differences = np.sort((pairs[0] - pairs[1])[finite])
            low, high = bootstrap_interval(differences, n_boot, seed)
            mean = float(differences.mean()) if len(differences) else math.nan
            table.append(
                {
                    "reference": reference,
                    "method": method,
                    "metric": metric.name,
                    "n": len(differences),
                    "missing": missing,
                    "non_finite": int((~finite).sum()),
                    "difference": mean,
                    "low": low,
                    "high": high,
                    "p": signed_rank_p(differences),
                    "reference_better": _is_better(mean, metric.higher_is_better),
                }
            )
    columns = (
        "reference method metric n missing non_finite difference low high p "
        "reference_better"
    )
    frame = pd.DataFrame(table, columns=columns.split())
    return frame.astype({"reference_better": "boolean"})


def signed_rank_p(differences: np.ndarray) -> float:
    """Return the p value of the two-sided Wilcoxon signed-rank test.

    Differences of 0 are dropped (Wilcoxon 1945). If all are 0, p is 1.

    Arguments
    ---------
    differences : numpy.ndarray
        Paired differences, shape (n,), finite. For n = 0 the result is NaN.

    Returns
    -------
    p : float
        0 to 1.

    Example
    -------
    >>> signed_rank_p(np.array([0.0, 0.0])), signed_rank_p(np.array([1.0, 2.0, 3.0]))
    (1.0, 0.25)
    """
    if len(differences) == 0:
        return math.nan
    nonzero = differences[differences != 0]
    return float(wilcoxon(nonzero).pvalue) if len(nonzero) else 1.0


def means_by(
    table: pd.DataFrame,
    keys: Sequence[str],
    names: Sequence[str],
    n_boot: int = 2000,
    seed: int = 1234,
) -> pd.DataFrame:
    """Return mean and interval of scores in each group of rows.

    Arguments
    ---------
    table : pandas.DataFrame
        One row per clip.
    keys : sequence of str
        Columns that define the groups, which keep the order of the table.
    names : sequence of str
        Columns of scores.
    n_boot : int
        Resamples of the bootstrap.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    means : pandas.DataFrame
        One row per group and score: the keys, `score`, the `mean` of the finite scores,
        the limits `low` and `high` of its 95 % interval, and the numbers of finite and
        of other scores, `n` and `non_finite`.

    Example
    -------
    >>> table = pd.DataFrame({"method": ["a", "a", "b"], "AI": [0.0, 100.0, math.nan]})
    >>> means_by(table, ["method"], ["AI"])[["method", "mean", "n", "non_finite"]]
      method  mean  n  non_finite
    0      a  50.0  2           0
    1      b   NaN  0           1
    """
    _check_columns(table, [*keys, *names])
    rows = []
    for group, clips in table.groupby(list(keys), sort=False):
        for name in names:
            values = clips[name].to_numpy(float)
            finite = np.sort(values[np.isfinite(values)])
            low, high = bootstrap_interval(finite, n_boot, seed)
            rows.append(
                {
                    **dict(zip(keys, group, strict=True)),
                    "score": name,
                    "mean": finite.mean() if len(finite) else math.nan,
                    "low": low,
                    "high": high,
                    "n": len(finite),
                    "non_finite": len(values) - len(finite),
                }
            )
    return pd.DataFrame(rows)


def _check_columns(table: pd.DataFrame, names: Sequence[str]) -> None:
    """Raise InputError unless a table has all columns."""
    missing = [name for name in names if name not in table]
    if missing:
        raise InputError(
            f"missing column {', '.join(missing)}, got "
            f"{', '.join(map(str, table.columns))}"
        )


def _is_better(difference: float, higher_is_better: bool | None) -> Any:
    """Return whether a difference has the favourable sign, as a bool.

    NA if the metric has no direction, or the difference is NaN.
    """
    if higher_is_better is None or math.isnan(difference):
        return pd.NA
    return bool(difference > 0 if higher_is_better else difference < 0)
