"""Similarity of maps: known numbers, undefined cases, batches."""

import math

import pytest
import torch

from speechbrain_lmac.metrics.similarity import spearman, ssim

both = pytest.mark.parametrize("similarity", [spearman, ssim])


def maps(n=3, seed=0):
    return torch.rand(n, 15, 20, generator=torch.Generator().manual_seed(seed))


@both
def test_a_map_is_like_itself(similarity):
    assert similarity(maps(), maps()).tolist() == pytest.approx([1.0] * 3)
    assert (similarity(maps(), maps(seed=1)).abs() < 0.3).all()


def test_an_order_turned_round_is_minus_one():
    assert spearman(maps(), 1 - maps()).tolist() == pytest.approx([-1.0] * 3)
    assert (ssim(maps(), 1 - maps()) < -0.5).all()


def test_ranks_do_not_see_a_monotone_change_but_structure_does():
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
    with pytest.raises(
        ValueError, match=r"at least 11 frames and bins, got \(10, 20\)"
    ):
        ssim(maps()[:, :10], maps()[:, :10])
    assert ssim(maps()[:, :11, :11], maps()[:, :11, :11]).isfinite().all()
