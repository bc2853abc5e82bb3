"""What holds for the terms of the objective and for their sum."""

import math

import pytest
import torch

from speechbrain_lmac.losses.lmac import (
    WeightedObjective,
    mask_in,
    mask_l1,
    mask_out,
    total_variation,
)
from speechbrain_lmac.types import Evidence
from speechbrain_lmac.utils.errors import InputError

TERMS = {
    "mask_in": mask_in,
    "mask_out": mask_out,
    "mask_l1": mask_l1,
    "total_variation": total_variation,
}
# hparams/parts/objective/lmac.yaml
PUBLISHED = {"mask_in": 4.0, "mask_out": 0.2, "mask_l1": 6.4, "total_variation": 0.0}


def evidence(n_clips, shape=(7, 5), n_classes=4, seed=0):
    draw = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(3, n_clips, n_classes, generator=draw)
    return Evidence(
        mask=torch.rand(n_clips, *shape, generator=draw),
        target=logits[0].argmax(1),
        logits=logits[0],
        logits_in=logits[1],
        logits_out=logits[2],
    )


def item_of(batch, item):
    fields = ("mask", "target", "logits", "logits_in", "logits_out")
    return Evidence(**{name: getattr(batch, name)[item : item + 1] for name in fields})


def with_mask(mask):
    logits = torch.zeros(len(mask), 2)
    target = torch.zeros(len(mask), dtype=torch.long)
    return Evidence(torch.as_tensor(mask), target, logits, logits, logits)


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("n_clips", [1, 3])
def test_a_term_has_one_value_per_clip_whatever_stands_beside_it(name, n_clips):
    batch = evidence(n_clips)
    together = TERMS[name](batch)
    assert together.shape == (n_clips,)
    for item in range(n_clips):
        alone = TERMS[name](item_of(batch, item))
        torch.testing.assert_close(together[item : item + 1], alone)


def test_the_loss_of_equal_clips_is_the_loss_of_one():
    objective = WeightedObjective(TERMS, PUBLISHED)
    one = evidence(1)
    fields = ("mask", "target", "logits", "logits_in", "logits_out")
    many = Evidence(**{f: torch.cat([getattr(one, f)] * 3) for f in fields})
    alone = objective.total(objective(one)).mean()
    torch.testing.assert_close(objective.total(objective(many)).mean(), alone)


def test_the_total_is_the_weighted_sum():
    batch = evidence(3)
    weights = {"mask_in": 2.0, "mask_out": -1.0, "total_variation": 0.5}
    objective = WeightedObjective(TERMS, weights)
    values = objective(batch)
    assert set(values) == set(TERMS)  # what has no weight is logged as well
    by_hand = 2 * mask_in(batch) - mask_out(batch) + 0.5 * total_variation(batch)
    torch.testing.assert_close(objective.total(values), by_hand)


def test_a_weight_of_no_term_is_refused():
    with pytest.raises(InputError) as error:
        WeightedObjective(TERMS, {"mask_in": 4.0, "mask_l2": 1.0})
    assert "['mask_l2']" in str(error.value)
    assert "mask_l1" in str(error.value)


def test_cross_entropies_by_hand():
    # p_in = 0.8 and p_out = 0.5 of the class that is explained, which is the second.
    batch = Evidence(
        mask=torch.zeros(1, 1, 1),
        target=torch.tensor([1]),
        logits=torch.tensor([[9.0, 0.0]]),
        logits_in=torch.tensor([[0.0, math.log(4)]]),
        logits_out=torch.tensor([[3.0, 3.0]]),
    )
    assert mask_in(batch).item() == pytest.approx(-math.log(0.8))
    assert mask_out(batch).item() == pytest.approx(math.log(0.5))


def test_less_of_the_class_in_the_rest_is_better():
    sure, unsure = evidence(1), evidence(1)
    sure.logits_out[0, sure.target] += 5
    unsure.logits_out[0, unsure.target] -= 5
    assert mask_out(unsure) < mask_out(sure) <= 0


def test_total_variation_by_hand():
    # Time steps |0.5 - 0.1| and |0.2 - 0.4|, frequency steps |0.4 - 0.1| and
    # |0.2 - 0.5|: means 0.3 and 0.3.
    mask = torch.tensor([[[0.1, 0.4], [0.5, 0.2]]])
    assert total_variation(with_mask(mask)).item() == pytest.approx(0.6)


@pytest.mark.parametrize("shape, total", [((3, 1), 0.5), ((1, 3), 0.5), ((1, 1), 0.0)])
def test_total_variation_of_a_line_and_of_a_point(shape, total):
    mask = torch.tensor([0.0, 0.5, 1.0])[: shape[0] * shape[1]].reshape(1, *shape)
    assert total_variation(with_mask(mask)).item() == pytest.approx(total)


def test_a_flat_mask_does_not_vary():
    assert total_variation(with_mask(torch.full((2, 4, 5), 0.7))).tolist() == [0, 0]


@pytest.mark.parametrize("shape", [(7, 5), (431, 513)])
def test_l1_is_a_mean_and_does_not_grow_with_the_mask(shape):
    value = mask_l1(with_mask(torch.full((2, *shape), 0.25)))
    assert value.tolist() == pytest.approx([0.25, 0.25])


def published_l1(mask, weight=0.4):
    """The L1 term of the public train_lmac.py, read from docs/methods.md.

    The mean over batch, time and frequency, times the weight, times a vector of one
    1 per clip, summed.
    """
    n_clips, n_frames, n_bins = mask.shape
    mean = mask.abs().sum() / (n_clips * n_frames * n_bins)
    return sum(weight * mean * one for one in torch.ones(n_clips))


def test_the_l1_weight_is_that_of_the_public_code_at_its_batch_size():
    batch = evidence(16, shape=(43, 51))
    objective = WeightedObjective(TERMS, {"mask_l1": PUBLISHED["mask_l1"]})
    ours = objective.total(objective(batch)).mean()
    torch.testing.assert_close(ours, published_l1(batch.mask))


def test_the_gradient_reaches_the_mask_and_both_answers():
    batch = evidence(2)
    leaves = (batch.mask, batch.logits_in, batch.logits_out)
    for leaf in leaves:
        leaf.requires_grad_()
    objective = WeightedObjective(TERMS, PUBLISHED)
    objective.total(objective(batch)).mean().backward()
    assert all((leaf.grad != 0).all() for leaf in leaves)


def test_extreme_answers_stay_finite():
    batch = evidence(2)
    batch.logits_in[:, batch.target] -= 1e4
    batch.logits_out[:, batch.target] += 1e4
    objective = WeightedObjective(TERMS, PUBLISHED)
    assert torch.isfinite(objective.total(objective(batch))).all()
