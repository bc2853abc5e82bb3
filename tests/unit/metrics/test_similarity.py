"""Similarity of maps: known numbers, undefined cases, batches."""

import math

import pytest
import torch

from speechbrain_lmac.metrics.similarity import (
    jaccard_distance,
    rank_correlation,
    shape_distance,
    spearman,
    ssim,
)

both = pytest.mark.parametrize("similarity", [spearman, ssim])

distances = pytest.mark.parametrize("distance", [jaccard_distance, shape_distance])


def maps(n=3, seed=0):
    return torch.rand(n, 15, 20, generator=torch.Generator().manual_seed(seed))


@both
def test_a_map_is_like_itself(similarity):
    assert similarity(maps(), maps()).tolist() == pytest.approx([1.0] * 3)
    assert (similarity(maps(), maps(seed=1)).abs() < 0.3).all()


def test_an_order_turned_round_is_minus_one():
    assert spearman(maps(), 1 - maps()).tolist() == pytest.approx([-1.0] * 3)
    assert (ssim(maps(), 1 - maps()) < -0.5).all()


def test_a_monotone_change_keeps_the_ranks_but_not_the_structure():
    assert spearman(maps(), maps() ** 4).tolist() == pytest.approx([1.0] * 3)
    assert (ssim(maps(), maps() ** 4) < 0.9).all()


@both
def test_constant_maps_and_nan_are_undefined_for_their_own_clip(similarity):
    first = maps(4)
    first[0] = 0.0
    first[1] = 0.7
    first[2, 3, 3] = math.nan
    other = maps(4, seed=1)
    for scores in (similarity(first, other), similarity(other, first)):
        assert scores.isnan().tolist() == [True, True, True, False]


@both
def test_an_item_does_not_depend_on_its_batch(similarity):
    first, second = maps(), maps(seed=1)
    together = similarity(first, second)
    for i in range(3):
        alone = similarity(first[i : i + 1], second[i : i + 1])
        torch.testing.assert_close(alone, together[i : i + 1])


@both
def test_maps_of_two_shapes_are_refused(similarity):
    with pytest.raises(ValueError, match=r"\(3, 15, 20\), got \(3, 15, 19\)"):
        similarity(maps(), maps()[:, :, 1:])


def test_ssim_needs_room_for_its_window():
    with pytest.raises(ValueError, match=r"11 .*\(10, 20\)"):
        ssim(maps()[:, :10], maps()[:, :10])
    assert ssim(maps()[:, :11, :11], maps()[:, :11, :11]).isfinite().all()


def test_equal_numbers_share_the_mean_of_their_ranks():
    # Ranks 1.5, 1.5, 3 and 1, 2, 3, less 2: (0.5 + 0 + 1) / sqrt(1.5 * 2)
    assert rank_correlation([4, 4, 9], [1, 2, 3]) == pytest.approx(1.5 / math.sqrt(3))


def test_a_constant_or_broken_series_has_no_rank_correlation():
    assert math.isnan(rank_correlation([1, 2, math.nan], [1, 2, 3]))
    assert math.isnan(rank_correlation([1, 2, math.inf], [1, 2, 3]))
    assert math.isnan(rank_correlation([2, 2], [1, 3]))


# --- Distances ------------------------------------------------------------------------


@distances
def test_distances_are_0_to_1_and_the_same_both_ways(distance):
    first, second = maps(), maps(seed=1)
    assert distance(first, first).tolist() == [0, 0, 0]
    found = distance(first, second)
    assert ((found > 0.2) & (found < 0.8)).all()
    torch.testing.assert_close(distance(second, first), found)
    upper = torch.ones(15, 20).triu()
    assert distance(first * upper, first * (1 - upper)).tolist() == [1, 1, 1]


def test_the_distance_of_binary_masks_is_1_less_intersection_over_union():
    first, second = (maps() > 0.5), (maps(seed=1) > 0.7)
    union = (first | second).sum((1, 2)).double()
    expected = 1 - (first & second).sum((1, 2)) / union
    torch.testing.assert_close(
        jaccard_distance(first.float(), second.float()), expected
    )


def test_the_size_matters_for_the_jaccard_distance_only():
    found = jaccard_distance(maps(), maps() / 4)
    assert found.tolist() == pytest.approx([0.75] * 3)  # minima a / 4, maxima a
    assert shape_distance(maps(), maps() / 4).abs().max() < 1e-7


def test_empty_maps():
    first, second, empty = maps(), maps(seed=1), torch.zeros(3, 15, 20)
    assert jaccard_distance(first, empty).tolist() == [1, 1, 1]
    assert jaccard_distance(empty, empty).isnan().all()
    assert shape_distance(first, empty).isnan().all()
    first[1, 2, 3] = math.nan
    for distance in (jaccard_distance, shape_distance):
        assert distance(first, second).isnan().tolist() == [False, True, False]


@distances
def test_a_distance_does_not_depend_on_the_batch(distance):
    first, second = maps(), maps(seed=1)
    alone = torch.cat([distance(first[i, None], second[i, None]) for i in range(3)])
    torch.testing.assert_close(alone, distance(first, second))
    with pytest.raises(ValueError, match=r"\(3, 15, 20\), got \(3, 15, 19\)"):
        distance(first, second[:, :, 1:])
