"""SPS, COMP and MM against numbers worked out on paper, and their table entries."""

import math

import pytest
import torch

from speechbrain_lmac.metrics import ALL_METRICS, PAPER_METRICS, metrics_by_name
from speechbrain_lmac.metrics.sparsity import complexity, empty, mask_mean, sparseness
from speechbrain_lmac.types import Evidence
from speechbrain_lmac.utils.errors import InputError


def test_known_answers():
    # 1, 2, 3, 4: Gini (-3 - 2 + 3 + 12) / (4 * 10) = 0.25; shares 0.1 0.2 0.3 0.4
    mask = torch.tensor([[[4.0, 1.0], [3.0, 2.0]]]) / 4
    assert sparseness(mask).item() == pytest.approx(0.25)
    entropy = -sum(q * math.log(q) for q in (0.1, 0.2, 0.3, 0.4))
    assert complexity(mask).item() == pytest.approx(entropy)
    assert mask_mean(mask).item() == pytest.approx(0.625)


def test_bounds_are_reached_on_a_full_size_mask():
    n = 431 * 513
    masks = torch.zeros(2, 431, 513)
    masks[0] = 0.3
    masks[1, 100, 200] = 0.3
    torch.testing.assert_close(
        sparseness(masks), torch.tensor([0.0, 1 - 1 / n], dtype=torch.float64)
    )
    torch.testing.assert_close(
        complexity(masks), torch.tensor([math.log(n), 0.0], dtype=torch.float64)
    )


def test_scale_does_not_matter_but_for_the_mean():
    mask = torch.rand(3, 8, 5, generator=torch.Generator().manual_seed(0))
    for score in (sparseness, complexity):
        torch.testing.assert_close(score(mask), score(mask / 64))
    torch.testing.assert_close(mask_mean(mask), 64 * mask_mean(mask / 64))


def test_each_item_is_scored_alone():
    masks = torch.rand(3, 8, 5, generator=torch.Generator().manual_seed(0))
    for score in (sparseness, complexity, mask_mean):
        alone = torch.cat([score(mask.unsqueeze(0)) for mask in masks])
        assert score(masks).shape == (3,)
        torch.testing.assert_close(score(masks), alone)


def test_empty_small_and_broken_masks_differ():
    masks = torch.zeros(3, 4, 5)
    masks[1, 0, 0] = 1e-30
    masks[2, 0, 0] = math.nan
    assert empty(masks).tolist() == [True, False, False]
    for score in (sparseness, complexity):
        assert score(masks).isnan().tolist() == [True, False, True]
    assert mask_mean(masks)[0] == 0
    assert mask_mean(masks)[2].isnan()


def evidence():
    """One item: p = 0.5, p_in = 0.75, p_out = 0.25, and a quarter of the mask."""
    p = torch.tensor([[[0.5, 0.5]], [[0.75, 0.25]], [[0.25, 0.75]]])
    mask = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    return Evidence(mask, torch.tensor([0]), *p.log())


def test_every_metric_uses_its_own_part_of_the_evidence():
    scores = {metric.name: metric(evidence()).item() for metric in ALL_METRICS}
    assert scores == pytest.approx(
        {
            "AI": 100.0,
            "AD": 0.0,
            "AD-double-softmax": 0.0,
            "AG": 50.0,
            "FF": 0.25,
            "Fid-In": 1.0,
            "Target-In": 1.0,
            "SPS": 0.75,
            "COMP": 0.0,
            "MM": 0.25,
        },
        abs=1e-5,
    )


def test_a_drop_is_a_drop_under_both_names():
    part = evidence()
    swapped = Evidence(
        part.mask, part.target, part.logits_in, part.logits_out, part.logits
    )
    ad, double = metrics_by_name(["AD", "AD-double-softmax"])
    assert ad(swapped).item() == pytest.approx(100 * 2 / 3, abs=1e-4)
    # softmax of (3/4, 1/4) and of (1/4, 3/4)
    full, after = 1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(0.5))
    assert double(swapped).item() == pytest.approx(
        100 * (full - after) / full, abs=1e-4
    )


def test_directions_and_the_papers_order():
    directions = {m.name: m.higher_is_better for m in PAPER_METRICS}
    assert list(directions) == ["AI", "AD", "AG", "FF", "Fid-In", "SPS", "COMP", "MM"]
    assert [name for name, up in directions.items() if up is False] == ["AD", "COMP"]
    assert directions["MM"] is None


def test_metrics_by_name():
    assert [m.name for m in metrics_by_name(["MM", "AD"])] == ["MM", "AD"]
    with pytest.raises(InputError, match="AE, sps; known: AI, AD, AD-double"):
        metrics_by_name(["AI", "AE", "sps"])
