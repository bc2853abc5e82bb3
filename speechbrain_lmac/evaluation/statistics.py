"""Statistics per method: means, bootstrap intervals over clips, curves.

A clip may have several rows, one for each of its mixtures (column `clip`). They are not
independent, so resamples draw clips, each with all its rows.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from speechbrain_lmac.evaluation.evaluate import curve_column
from speechbrain_lmac.metrics import PAPER_METRICS, Score
from speechbrain_lmac.metrics.curves import CURVES

CLIP = "clip"  # column of rows: the id of the clip in a mixture


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
        From `evaluate.evaluate` or `Benchmark.score`.
    scores : sequence
        `Score` objects, each with a column in `per_clip`.
    n_boot : int
        Resamples of the bootstrap.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    summary : pandas.DataFrame
        One row per method, in the order of `per_clip`. `n`: rows, one or, in a
        condition with mixtures, several per clip. `empty`: rows with an empty mask.
        `non_finite`: rows with a score that is not finite (SPS and COMP of an empty
        mask); scores that are undefined for some clips (`Score.partial`) do not count.
        `saturated`: rows whose p is too close to 1 to measure a gain. For each score
        its mean over the rows with a finite value, the limits of the 95 % interval over
        clips `NAME_low` and `NAME_high` (NaN without such a row), and the number of
        such rows `NAME_n`. `seconds_per_clip`: time to explain, without scoring.
    """
    names = [score.name for score in scores]
    rows = []
    for method, own in per_clip.groupby("method", sort=False):
        values, clips = own[names].to_numpy(dtype=float), clips_of(own)
        broken = ~np.isfinite(values[:, [not score.partial for score in scores]])
        row = {
            "method": method,
            "n": len(own),
            "empty": int(own["empty_mask"].sum()),
            "non_finite": int(broken.any(axis=1).sum()),
            "saturated": int(own["saturated"].sum()),
        }
        for name, column in zip(names, values.T, strict=True):
            mean, low, high, n = mean_over_clips(column, clips, n_boot, seed)
            row[name] = mean
            row[f"{name}_low"] = low
            row[f"{name}_high"] = high
            row[f"{name}_n"] = n
        row["seconds_per_clip"] = own["seconds"].mean()
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
        With the columns `id method share`, `clip` where `per_clip` has it, and each of
        `metrics.curves.CURVES`.
    """
    keys = [name for name in ("id", CLIP, "method") if name in per_clip]
    return pd.concat(
        [
            per_clip[keys].assign(
                share=share,
                **{c.name: per_clip[curve_column(c.name, share)] for c in CURVES},
            )
            for share in shares
        ],
        ignore_index=True,
    )


def clips_of(rows: pd.DataFrame) -> np.ndarray:
    """Return the clip of each row: its column `clip`, else `id`, else its own number.

    Arguments
    ---------
    rows : pandas.DataFrame
        n rows, of one method or of several.

    Returns
    -------
    clips : numpy.ndarray
        Shape (n,). Rows of one clip have equal values.

    Example
    -------
    >>> clips_of(pd.DataFrame({"id": ["a+0", "a+1"], "clip": ["a", "a"]})).tolist()
    ['a', 'a']
    >>> clips_of(pd.DataFrame({"id": ["a+0", "a+1"]})).tolist()
    ['a+0', 'a+1']
    """
    for name in (CLIP, "id"):
        if name in rows:
            return rows[name].to_numpy()
    return np.arange(len(rows))


def sums_of_clips(
    values: np.ndarray, clips: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum and the number of values of each clip.

    Arguments
    ---------
    values : numpy.ndarray
        Shape (n,), finite.
    clips : numpy.ndarray
        Shape (n,): the clip of each value.

    Returns
    -------
    sums, counts : numpy.ndarray
        Shape (m,) for m clips, float64, in the order of the sums: neither depends on
        the order of the values, nor on the names of the clips.

    Example
    -------
    >>> sums_of_clips(np.array([3.0, 1.0, 0.5]), np.array(["b", "a", "b"]))
    (array([1. , 3.5]), array([1., 2.]))
    """
    order = np.argsort(values, kind="stable")  # any order of rows has the same sums
    codes, names = pd.factorize(clips[order])
    sums = np.bincount(codes, weights=values[order], minlength=len(names))
    counts = np.bincount(codes, minlength=len(names)).astype(float)
    order = np.lexsort((counts, sums))
    return sums[order], counts[order]


def mean_over_clips(
    values: np.ndarray, clips: np.ndarray, n_boot: int = 2000, seed: int = 1234
) -> tuple[float, float, float, int]:
    """Return the mean of the finite values, its 95 % interval over clips, their number.

    Arguments
    ---------
    values : numpy.ndarray
        Shape (n,).
    clips : numpy.ndarray
        Shape (n,): the clip of each value, from `clips_of`.
    n_boot : int
        Resamples of the bootstrap.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    mean, low, high : float
        In the unit of the values; NaN without a finite one.
    n : int
        Finite values.
    """
    valid = np.isfinite(values)
    # Sorted: neither mean nor interval depends on the order of the rows.
    finite = np.sort(values[valid])
    mean = float(finite.mean()) if len(finite) else math.nan
    sums, counts = sums_of_clips(values[valid], clips[valid])
    low, high = bootstrap_interval(sums, n_boot, seed, counts=counts)
    return mean, low, high, len(finite)


def bootstrap_interval(
    values: np.ndarray,
    n_boot: int = 2000,
    seed: int = 1234,
    level: float = 0.95,
    counts: np.ndarray | None = None,
) -> tuple[float, float]:
    """Return the percentile-bootstrap interval of the mean.

    With `counts`, the mean is over rows that come in clusters, the rows of one clip: a
    resample draws clusters, and its mean is sum(values) / sum(counts) over the drawn
    ones (cluster bootstrap: Davison and Hinkley 1997, section 3.8).

    Arguments
    ---------
    values : numpy.ndarray
        Shape (n,). With n = 0 both limits are NaN. With `counts` the sum of each
        cluster.
    n_boot : int
        Number of resamples of n values each.
    seed : int
        Seed of the resamples.
    level : float
        Confidence level, 0 to 1.
    counts : numpy.ndarray, optional
        Shape (n,): the rows of each cluster. Ones give the interval of the values.

    Returns
    -------
    low, high : float
        Limits of the interval, in the unit of the values.

    Example
    -------
    >>> bootstrap_interval(np.array([0.25, 0.25, 0.25]))
    (0.25, 0.25)

    Two clips with the mean 0.25, one of them with three rows:

    >>> bootstrap_interval(np.array([0.25, 0.75]), counts=np.array([1, 3]))
    (0.25, 0.25)
    """
    sizes = np.ones(len(values)) if counts is None else counts
    if len(values) < 2:  # scipy needs two values
        mean = float(np.sum(values) / np.sum(sizes)) if len(values) else math.nan
        return mean, mean
    alone = (sizes == 1).all()  # the ratio would give the same bits, more slowly
    if alone and values.min() == values.max():  # the mean of every resample
        return float(np.mean(values)), float(np.mean(values))
    interval = bootstrap(
        (values,) if alone else (values, sizes),
        np.mean if alone else _ratio,
        n_resamples=n_boot,
        confidence_level=level,
        method="percentile",
        paired=not alone,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _ratio(sums: np.ndarray, counts: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the mean over the rows of clusters."""
    return sums.sum(axis=axis) / counts.sum(axis=axis)
