"""From a row per clip and method to a row per method: means, intervals, curves."""

import math

import numpy as np
import pandas as pd

from speechbrain_lmac.evaluation.evaluate import curve_column
from speechbrain_lmac.metrics import PAPER_METRICS
from speechbrain_lmac.metrics.curves import CURVES


def summarise(
    per_clip: pd.DataFrame,
    scores: list | tuple = PAPER_METRICS,
    n_boot: int = 2000,
    seed: int = 1234,
) -> pd.DataFrame:
    """Mean and interval of each score, per method.

    Arguments
    ---------
    per_clip : pandas.DataFrame
        From `evaluate.evaluate`.
    scores : sequence
        Of Metric or Score, each a column of `per_clip`.
    n_boot : int
        Resamples of the bootstrap.
    seed : int
        Of the bootstrap.

    Returns
    -------
    summary : pandas.DataFrame
        One row per method, in the order of `per_clip`. `n` clips, of which `empty`
        have an empty mask, `non_finite` have a score that is not finite (an empty
        mask has no SPS and no COMP), and `saturated` have nothing to gain. For each
        score its mean over the clips with a finite value, the limits of the 95 %
        interval `NAME_low` and `NAME_high` (NaN without such a clip), and the number
        of such clips `NAME_n`. `seconds_per_clip` is the time to explain, not to score.
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
            # Sorted, so that neither mean nor interval depends on the clips' order.
            finite = np.sort(column[np.isfinite(column)])
            low, high = bootstrap_interval(finite, n_boot, seed)
            row[name] = finite.mean() if len(finite) else math.nan
            row[f"{name}_low"] = low
            row[f"{name}_high"] = high
            row[f"{name}_n"] = len(finite)
        row["seconds_per_clip"] = clips["seconds"].mean()
        rows.append(row)
    return pd.DataFrame(rows)


def curves_of(per_clip: pd.DataFrame, shares: tuple[float, ...]) -> pd.DataFrame:
    """The curves in rows of `evaluate.evaluate`, one row per clip, method and share.

    Arguments
    ---------
    per_clip : pandas.DataFrame
        From `evaluate.evaluate` with these shares.
    shares : sequence
        Of float.

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
    """Percentile-bootstrap interval of the mean.

    Arguments
    ---------
    values : numpy.ndarray
        Shape (n,). With n = 0 both limits are NaN.
    n_boot : int
        Resamples of n values each.
    seed : int
    level : float
        Share of the resampled means in the interval.

    Returns
    -------
    low, high : float

    Example
    -------
    >>> bootstrap_interval(np.array([0.25, 0.25, 0.25]))
    (0.25, 0.25)
    """
    n = len(values)
    if n == 0:
        return math.nan, math.nan
    generator = np.random.default_rng(seed)
    means = values[generator.integers(n, size=(n_boot, n))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
