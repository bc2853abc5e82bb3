"""Means and intervals of the scores: what is averaged, and the bootstrap."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from speechbrain_lmac.evaluation.statistics import (
    bootstrap_interval,
    mean_over_clips,
    summarise,
)
from speechbrain_lmac.metrics import AI, Score


def per_clip_of(scores, method="m"):
    return pd.DataFrame(
        {
            "method": method,
            "AI": scores,
            "empty_mask": False,
            "saturated": False,
            "seconds": 0.5,
        }
    )


def test_an_infinite_score_is_not_averaged():
    summary = summarise(per_clip_of([1.0, 3.0, np.inf, np.nan]), [AI], n_boot=20)
    assert summary.AI[0] == 2.0
    assert (summary.AI_n[0], summary.non_finite[0], summary.n[0]) == (2, 2, 4)
    assert summary.seconds_per_clip[0] == 0.5


def test_a_partial_score_may_be_missing():
    table = per_clip_of([1.0, 3.0, np.nan, 2.0]).assign(meter=[0.5, *3 * [np.nan]])
    summary = summarise(table, [AI, Score("meter", partial=True)], n_boot=20)
    assert (summary.meter[0], summary.meter_n[0], summary.non_finite[0]) == (0.5, 1, 1)


def test_methods_keep_their_order_and_clips_do_not_matter():
    scores = np.random.default_rng(0).gamma(1, size=40)
    forth, back = per_clip_of(scores, "z"), per_clip_of(scores[::-1], "a")
    summary = summarise(pd.concat([forth, back]), [AI], n_boot=200)
    assert summary.method.tolist() == ["z", "a"]
    assert summary.loc[0].drop("method").equals(summary.loc[1].drop("method"))


def test_the_interval_of_a_constant_is_the_constant():
    assert bootstrap_interval(np.full(37, 100.0)) == (100.0, 100.0)
    assert bootstrap_interval(np.full(37, 0.1)) == pytest.approx((0.1, 0.1), rel=1e-14)
    assert bootstrap_interval(np.array([0.3])) == (0.3, 0.3)
    assert np.isnan(bootstrap_interval(np.array([]))).all()


@pytest.mark.parametrize("n", [2, 3, 50, 400])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_interval_is_that_of_the_same_resamples_by_numpy(n, level):
    """The published intervals are of these draws: scipy must not draw others."""
    values = np.random.default_rng(3).gamma(0.5, size=n)
    places = np.random.default_rng(5).integers(n, size=(500, n))
    limits = [(1 - level) / 2, (1 + level) / 2]
    expected = np.quantile(values[places].mean(axis=1), limits)
    found = bootstrap_interval(values, 500, seed=5, level=level)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_seed_decides_the_interval():
    values = np.random.default_rng(0).normal(size=30)
    first = bootstrap_interval(values, 100, seed=1)
    assert first == bootstrap_interval(values, 100, seed=1)
    assert first != bootstrap_interval(values, 100, seed=2)


# --- Several mixtures of a clip -------------------------------------------------------


def named(codes):
    return np.array([f"clip{code}" for code in codes])


@pytest.mark.parametrize("n", [1, 2, 80])
def test_with_one_row_a_clip_the_interval_is_bit_by_bit_that_of_the_rows(n):
    draw = np.random.default_rng(n)
    values = draw.gamma(0.5, size=n)
    found = mean_over_clips(values, named(draw.permutation(n)), 300, seed=7)
    rows = np.sort(values)
    expected = (rows.mean(), rows.mean())
    if n > 1:
        expected = stats.bootstrap(
            (rows,),
            np.mean,
            n_resamples=300,
            method="percentile",
            rng=np.random.default_rng(7),
        ).confidence_interval
    assert found == (rows.mean(), *expected, n)


@pytest.mark.parametrize("times", [2, 4])
def test_rows_repeated_in_a_clip_tell_nothing_new(times):
    values, clips = np.random.default_rng(0).gamma(0.5, size=40), named(range(40))
    once = mean_over_clips(values, clips, 300)
    often = mean_over_clips(values.repeat(times), clips.repeat(times), 300)
    assert often[:3] == pytest.approx(once[:3], rel=1e-13)
    assert (once[3], often[3]) == (40, 40 * times)
    other = mean_over_clips(values.repeat(times), named(range(40 * times)), 300)
    assert other[2] - other[1] < 0.8 * (once[2] - once[1])  # as independent clips


def test_the_interval_is_that_of_clips_resampled_with_all_their_rows():
    draw = np.random.default_rng(1)
    codes = draw.permutation(np.repeat(np.arange(12), draw.integers(1, 5, size=12)))
    values = codes + draw.normal(size=len(codes))
    values[3] = np.nan  # counts for nothing
    mean, low, high, n = mean_over_clips(values, named(codes), 400, seed=5)
    finite = {code: values[(codes == code) & np.isfinite(values)] for code in codes}
    # The same draws of clips, which are in the order of their sums.
    clips = sorted(finite.values(), key=sum)
    places = np.random.default_rng(5).integers(12, size=(400, 12))
    means = [np.concatenate([clips[i] for i in drawn]).mean() for drawn in places]
    assert (low, high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))
    assert (mean, n) == (pytest.approx(np.nanmean(values)), len(values) - 1)


def test_a_summary_resamples_the_clips_whatever_the_order_of_the_rows():
    scores = np.random.default_rng(2).gamma(1, size=30)
    table = per_clip_of(scores.repeat(2)).assign(clip=named(range(30)).repeat(2))
    (row,) = summarise(table, [AI], n_boot=200).to_dict("records")
    (shuffled,) = summarise(
        table.sample(frac=1, random_state=1), [AI], n_boot=200
    ).to_dict("records")
    (once,) = summarise(per_clip_of(scores), [AI], n_boot=200).to_dict("records")
    assert row == shuffled
    assert (row["n"], once["n"]) == (60, 30)
    for name in ("AI", "AI_low", "AI_high"):
        assert row[name] == pytest.approx(once[name], rel=1e-13)
