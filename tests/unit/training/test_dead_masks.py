"""Which masks of a validation say nothing about any clip."""

import pytest
import torch

from speechbrain_lmac.training.dead_masks import DeadMaskDetector

SHAPE = (5, 7)  # frames, bins


def draw(n_clips, seed=0):
    return torch.rand(n_clips, *SHAPE, generator=torch.Generator().manual_seed(seed))


def cause(*batches, frames=None):
    detector = DeadMaskDetector()
    for batch in batches:
        detector.update(batch, frames)
    return detector.cause


@pytest.mark.parametrize(
    "value, expected", [(0.0, "all 0"), (1e-16, "all 0"), (1.0, "all 1")]
)
def test_constant_masks(value, expected):
    assert cause(torch.full((3, *SHAPE), value)) == expected
    assert cause(torch.full((1, *SHAPE), value)) == expected


def test_one_mask_for_every_clip_in_any_batch():
    mask = draw(1)
    assert cause(mask.expand(3, -1, -1), mask) == "the same for every clip"
    assert cause(torch.full((2, *SHAPE), 0.5)) == "the same for every clip"
    assert cause(mask) is None  # there is nothing to compare it with


def test_one_living_mask_among_dead_ones_is_enough():
    dead = torch.zeros(3, *SHAPE)
    assert cause(dead, draw(1), dead) is None
    assert cause(1 - dead, draw(1)) is None
    assert cause(draw(1).expand(3, -1, -1), draw(1, seed=1)) is None


def test_the_smallest_mask_that_can_be_heard_is_alive():
    masks = torch.zeros(2, 431, 513)  # 5 s at 16 kHz
    masks[0, :9, 40] = 1  # a tenth of a second in one bin
    masks[1, 9:18, 40] = 1
    assert masks.mean((1, 2)).max() < 1e-4  # too short: it counts as none
    assert cause(masks) == "all 0"
    masks[0, :87, 40] = 1  # a second of it
    assert cause(masks) is None


def test_padding_does_not_count():
    masks = torch.zeros(2, *SHAPE)
    masks[:, 2:] = draw(2)[:, 2:]
    assert cause(masks, frames=torch.tensor([2, 2])) == "all 0"
    assert cause(masks, frames=torch.tensor([2, 5])) is None


def test_nan_is_no_dead_mask():
    masks = torch.zeros(2, *SHAPE)
    masks[1, 0, 0] = float("nan")
    assert cause(masks) is None
