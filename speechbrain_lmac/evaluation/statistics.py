"""Statistics per method: means, bootstrap intervals, curves."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from speechbrain_lmac.evaluation.evaluate import curve_column
from speechbrain_lmac.metrics import PAPER_METRICS, Score
from speechbrain_lmac.metrics.curves import CURVES


def summarise(
    per_clip: pd.DataFrame,
    scores: Sequence[Score] = PAPER_METRICS,
    n_boot: int = 2000,
    seed: int = 1234,
) -> pd.DataFrame:
    """Return mean and confidence interval of each score, per method.

    Arguments
    ---------
    per_clip : pandas.DataFrame
        From `evaluate.evaluate`.
    scores : sequence of Score
        Each is a column of `per_clip`.
    n_boot : int
        Resamples of the bootstrap.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    summary : pandas.DataFrame
        One row per method, in the order of `per_clip`. `n`: clips. `empty`: clips with
        an empty mask. `non_finite`: clips with a non-finite score (e.g. SPS and COMP of
        an empty mask). `saturated`: clips without a measurable gain. For each score:
        its mean over clips with a finite value, the limits `NAME_low` and `NAME_high`
        of its 95 % interval, and the number `NAME_n` of these clips; NaN if there are
        none. `seconds_per_clip`: time to explain, without scoring.
    """
    names = [score.name for score in scores]
    rows = []
    for method, clips in per_clip.groupby("method", sort=False):
        values = clips[names].to_numpy(dtype=float)
        row = {
            "method": method,
            "n": len(clips),
            "empty": int(clips["empty_mask"].sum()),
            "non_finite": int((~np.isfinite(values)).any(axis=1).sum()),
            "saturated": int(clips["saturated"].sum()),
        }
        for name, column in zip(names, values.T, strict=True):
            # Sorted, so that the order of the clips does not affect the results.
            finite = np.sort(column[np.isfinite(column)])
            low, high = bootstrap_interval(finite, n_boot, seed)
            row[name] = finite.mean() if len(finite) else math.nan
            row[f"{name}_low"] = low
            row[f"{name}_high"] = high
            row[f"{name}_n"] = len(finite)
        row["seconds_per_clip"] = clips["seconds"].mean()
        rows.append(row)
    return pd.DataFrame(rows)


def curves_of(per_clip: pd.DataFrame, shares: Sequence[float]) -> pd.DataFrame:
    """Return the curves of `evaluate.evaluate`, one row per clip, method and share.

    Arguments
    ---------
    per_clip : pandas.DataFrame
        From `evaluate.evaluate` with these shares.
    shares : sequence of float
        Shares of kept cells.

    Returns
    -------
    curves : pandas.DataFrame
        With the columns `id method share` and each of `metrics.curves.CURVES`.
    """
    return pd.concat(
        [
            per_clip[["id", "method"]].assign(
                share=share,
                **{c.name: per_clip[curve_column(c.name, share)] for c in CURVES},
            )
            for share in shares
        ],
        ignore_index=True,
    )


def bootstrap_interval(
    values: np.ndarray, n_boot: int = 2000, seed: int = 1234, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile-bootstrap interval of the mean.

    Arguments
    ---------
    values : numpy.ndarray
        Shape (n,). For n = 0 both limits are NaN.
    n_boot : int
        Number of resamples of n values each.
    seed : int
        Seed of the resamples.
    level : float
        Confidence level, 0 to 1.

    Returns
    -------
    low, high : float
        Limits of the interval, in the unit of the values.

    Example
    -------
    >>> bootstrap_interval(np.array([0.25, 0.25, 0.25]))
    (0.25, 0.25)
    """
    if len(values) < 2:  # scipy needs two values
        mean = float(np.mean(values)) if len(values) else math.nan
        return mean, mean
    interval = bootstrap(
        (values,),
        np.mean,
        n_resamples=n_boot,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)
