"""From an attribution to a mask: rules worked out on paper, empty maps, NaN."""

import pytest
import torch

from speechbrain_lmac.explainers.to_mask import absolute, positive
from speechbrain_lmac.utils.errors import InputError

NAN = float("nan")


def mask_of(rule, *clips, **options):
    """Masks of clips that are given as lists of cells."""
    return rule(torch.tensor(clips)[:, None], **options)[:, 0].tolist()


def test_each_clip_is_divided_by_its_own_largest_cell():
    clips = [-8.0, 2.0, 4.0, 0.0], [0.1, 0.05, -0.025, 0.0]
    assert mask_of(absolute, *clips) == [[1, 0.25, 0.5, 0], [1, 0.5, 0.25, 0]]
    assert mask_of(positive, *clips) == [[0, 0.5, 1, 0], [1, 0.5, 0, 0]]


@pytest.mark.parametrize("rule", [absolute, positive])
def test_a_quantile_is_of_the_clips_own_cells(rule):
    # Of 1..10 the 0.8-quantile is the eighth: 8.
    cells = [float(value) for value in range(1, 11)]
    expected = [min(1, value / 8) for value in cells]
    assert mask_of(rule, cells, quantile=0.8)[0] == pytest.approx(expected)
    # In another clip of the same batch nothing changes.
    both = mask_of(rule, cells, [100.0] * 10, quantile=0.8)
    assert both[0] == pytest.approx(expected)
    assert both[1] == [1.0] * 10


@pytest.mark.parametrize("rule", [absolute, positive])
@pytest.mark.parametrize("quantile", [0.5, 1.0])
def test_a_map_of_zeros_is_an_empty_mask(rule, quantile):
    assert mask_of(rule, [0.0, -0.0, 0.0], quantile=quantile) == [[0, 0, 0]]


def test_a_map_without_a_positive_cell_is_an_empty_mask():
    assert mask_of(positive, [-1.0, -2.0]) == [[0, 0]]


def test_where_the_quantile_is_zero_the_cells_above_zero_are_one():
    cells = [0.0, 0.0, 0.0, 0.5, 2.0]
    assert mask_of(absolute, cells, quantile=0.4) == [[0, 0, 0, 1, 1]]


@pytest.mark.parametrize("rule", [absolute, positive])
def test_a_nan_stays_and_the_other_clips_do_not_see_it(rule):
    first, second = mask_of(rule, [NAN, 1.0, 2.0], [1.0, 1.0, 2.0])
    assert first[0] != first[0]
    assert second == [0.5, 0.5, 1.0]


@pytest.mark.parametrize("rule", [absolute, positive])
@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e30])
def test_any_scale_becomes_the_same_mask(rule, scale):
    mask = mask_of(rule, [3 * scale, 0.0, 3 * scale])[0]
    assert mask == [1, 0, 1]


@pytest.mark.parametrize("quantile", [0, -0.1, 1.01, NAN])
def test_other_quantiles_are_refused(quantile):
    with pytest.raises(InputError, match=r"in \(0, 1\], got"):
        absolute(torch.ones(1, 1, 1), quantile)
