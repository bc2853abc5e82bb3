"""Paired comparison: pairs, what is missing, intervals and p against scipy."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from speechbrain_lmac.evaluation.paired_tests import (
    compare,
    false_discovery,
    means_by,
    signed_rank_p,
)
from speechbrain_lmac.metrics import AD, AI, FF, MM
from speechbrain_lmac.utils.errors import InputError


def table_of(**methods):
    """A row per method and clip: {"method": {"id": score}}, all metrics alike."""
    rows = [
        {"id": clip, "method": method, **dict.fromkeys(["AD", "AI", "FF", "MM"], score)}
        for method, clips in methods.items()
        for clip, score in clips.items()
    ]
    return pd.DataFrame(rows)


def draws(n, seed, shift=0.0):
    values = np.random.default_rng(seed).normal(shift, 1, n)
    return {f"clip{i}": value for i, value in enumerate(values)}


def test_known_differences_and_directions():
    table = table_of(
        ours={"a": 3.0, "b": 5.0, "c": 4.0}, theirs={"c": 1.0, "a": 1.0, "b": 6.0}
    )
    result = compare(table, "ours", [FF, AD, MM], n_boot=50)
    assert result.metric.tolist() == ["FF", "AD", "MM"]
    assert result.method.tolist() == ["theirs"] * 3
    assert result.reference.tolist() == ["ours"] * 3
    # 2, -1 and 3: paired by id, not by place
    assert result.difference.tolist() == pytest.approx([4 / 3] * 3)
    assert result.n.tolist() == [3] * 3
    assert result.missing.tolist() == [0] * 3
    assert result.reference_better.tolist() == [True, False, pd.NA]
    # all resamples of the mean lie between the least and the largest difference
    assert result.low.min() >= -1 and result.high.max() <= 3
    assert (result.low < result.difference).all()


def test_the_order_of_the_rows_does_not_matter():
    table = table_of(a=draws(30, 0), b=draws(30, 1), c=draws(30, 2))
    shuffled = table.sample(frac=1, random_state=3)
    first, second = (
        compare(rows, "b", [AI, FF]).sort_values(
            ["method", "metric"], ignore_index=True
        )
        for rows in (table, shuffled)
    )
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_missing_and_non_finite_scores_are_counted():
    ours = {"a": 1.0, "b": 2.0, "c": math.nan, "only ours": 9.0}
    theirs = {"a": 0.0, "b": math.inf, "c": 1.0, "only theirs": 9.0, "too": 9.0}
    (row,) = compare(table_of(ours=ours, theirs=theirs), "ours", [FF]).itertuples()
    assert (row.n, row.missing, row.non_finite) == (1, 3, 2)
    assert (row.difference, row.low, row.high) == (1.0, 1.0, 1.0)


def test_methods_without_a_clip_in_common_have_no_difference():
    (row,) = compare(table_of(a={"x": 1.0}, b={"y": 1.0}), "a", [FF]).itertuples()
    assert (row.n, row.missing) == (0, 2)
    assert np.isnan([row.difference, row.low, row.high, row.p]).all()
    assert row.reference_better is pd.NA


def test_equal_methods_have_p_1_and_no_winner():
    table = table_of(a=draws(12, 0), b=draws(12, 0))
    (row,) = compare(table, "a", [FF]).itertuples()
    assert (row.p, row.difference, row.low, row.high) == (1.0, 0.0, 0.0, 0.0)
    assert row.reference_better is not pd.NA and not row.reference_better


def test_a_single_method_has_no_rows():
    result = compare(table_of(a=draws(3, 0)), "a", [FF])
    assert len(result) == 0 and "reference_better" in result


@pytest.mark.parametrize("shift", [0.0, 0.8])
def test_p_and_interval_are_scipys(shift):
    a, b = draws(40, 0, shift), draws(40, 1)
    (row,) = compare(table_of(a=a, b=b), "a", [FF], n_boot=10_000).itertuples()
    differences = np.array([a[clip] - b[clip] for clip in a])
    assert row.p == pytest.approx(stats.wilcoxon(list(a.values()), list(b.values()))[1])
    assert row.difference == pytest.approx(differences.mean())
    theirs = stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(4),
    )
    # see tests/unit/evaluation/test_statistics.py for the tolerance
    tolerance = 0.15 * theirs.standard_error
    assert row.low == pytest.approx(theirs.confidence_interval.low, abs=tolerance)
    assert row.high == pytest.approx(theirs.confidence_interval.high, abs=tolerance)


def test_zeros_are_left_out_of_the_test():
    values = np.array([0.0, 0.0, 1.0, -2.0, 3.0, 4.0])
    assert signed_rank_p(values) == signed_rank_p(values[2:])
    assert signed_rank_p(values) == pytest.approx(stats.wilcoxon(values[2:]).pvalue)
    assert math.isnan(signed_rank_p(np.array([])))


def test_unknown_methods_and_missing_columns_are_refused():
    table = table_of(a={"x": 1.0}, b={"x": 1.0})
    with pytest.raises(InputError, match="'L-MAC'.* a, b"):
        compare(table, "L-MAC", [FF])
    with pytest.raises(InputError, match="column FF.*id, method, AD"):
        compare(table.drop(columns="FF"), "a", [FF])
    both = pd.concat([table, table[:1]])
    with pytest.raises(InputError, match="a: x.*one condition"):
        compare(both, "a", [FF])
    with pytest.raises(InputError, match="column condition,"):
        means_by(table, ["condition"], ["FF"])


def test_means_of_groups():
    table = pd.DataFrame(
        {
            "method": ["b", "b", "a", "b"],
            "share": [0.1, 0.1, 0.1, 0.5],
            "AI": [0.0, 100.0, math.nan, 7.0],
        }
    )
    means = means_by(table, ["method", "share"], ["AI"], n_boot=200)
    assert means.method.tolist() == ["b", "a", "b"]
    assert means.share.tolist() == [0.1, 0.1, 0.5]
    assert means["mean"].tolist() == pytest.approx([50.0, math.nan, 7.0], nan_ok=True)
    assert (means.low[0], means.high[0]) == (0.0, 100.0)
    assert means.n.tolist() == [2, 0, 1]
    assert means.non_finite.tolist() == [0, 1, 0]


# --- Several mixtures of a clip -------------------------------------------------------


def mixtures_of(n, times, seed):
    """A score for each of `times` mixtures of n clips, a level per clip and noise."""
    draw = np.random.default_rng(seed)
    scores = draw.normal(0.3, 1, n)[:, None] + draw.normal(0, 0.3, (n, times))
    return {f"clip{i}+{k}": scores[i, k] for i in range(n) for k in range(times)}


def with_clips(table):
    return table.assign(clip=table["id"].str.split("+").str[0])


def test_the_test_is_of_the_clips_mean_differences():
    a, b = mixtures_of(25, 2, 0), mixtures_of(25, 2, 1)
    table = with_clips(table_of(a=a, b=b))
    (row,) = compare(table, "a", [FF]).itertuples()
    differences = pd.Series(a) - pd.Series(b)
    means = differences.groupby(differences.index.str.split("+").str[0]).mean()
    assert row.p == pytest.approx(stats.wilcoxon(means).pvalue)
    assert row.difference == pytest.approx(differences.mean())
    assert (row.n, row.clips) == (50, 25)
    # As independent rows they would have a smaller p.
    (rows,) = compare(table.drop(columns="clip"), "a", [FF]).itertuples()
    assert rows.p < row.p and rows.clips == 50


def test_equal_mixtures_of_a_clip_change_nothing():
    one = table_of(a=draws(20, 0), b=draws(20, 1, 0.5))
    twice = pd.concat(
        [one.assign(clip=one["id"], id=one["id"] + f"+{k}") for k in range(2)]
    )
    columns = ["clips", "difference", "low", "high", "p", "q"]
    first, second = (compare(t, "a", [FF])[columns].iloc[0] for t in (one, twice))
    assert second.tolist() == pytest.approx(first.tolist(), rel=1e-13)
    means = [means_by(t, ["method"], ["FF"], 200).iloc[0] for t in (one, twice)]
    for name in ("mean", "low", "high"):
        assert means[1][name] == pytest.approx(means[0][name], rel=1e-13)


def test_q_is_over_the_tests_of_the_table():
    table = table_of(a=draws(20, 0), b=draws(20, 1, 0.8), c=draws(20, 2), d={"x": 1.0})
    result = compare(table, "a", [FF, AD, MM])
    p = result["p"].dropna()
    assert len(p) == 6  # d has no clip in common
    expected = stats.false_discovery_control(p)
    assert result["q"].dropna().tolist() == pytest.approx(expected.tolist())
    assert result["q"].isna().equals(result["method"].eq("d"))


def test_q_is_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    for n in (1, 2, 30):
        p = np.random.default_rng(n).random(n) ** 3
        theirs = multitest.multipletests(p, method="fdr_bh")[1]
        assert false_discovery(p).tolist() == pytest.approx(theirs.tolist())
    assert len(false_discovery([])) == 0
