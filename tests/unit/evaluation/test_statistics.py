"""Means and intervals of the scores: what is averaged, and the bootstrap."""

import numpy as np
import pandas as pd
import pytest

from speechbrain_lmac.evaluation.statistics import bootstrap_interval, summarise
from speechbrain_lmac.metrics import AI


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
