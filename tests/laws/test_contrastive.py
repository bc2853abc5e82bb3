"""The contrastive loss: others' code agrees, and what is true is no negative."""

import math

import pytest
import torch
import torch.nn.functional as F

from speechbrain_lmac.losses.clap import silence, symmetric_contrastive, truth
from speechbrain_lmac.utils.errors import InputError


@pytest.fixture
def logits():
    return 3 * torch.randn(5, 5, generator=torch.Generator().manual_seed(0)).double()


def test_with_different_captions_it_is_clips(logits):
    # Two cross-entropies by torch, of which CLIP's loss is the mean.
    diagonal = torch.arange(5)
    rows = F.cross_entropy(logits, diagonal)
    columns = F.cross_entropy(logits.T, diagonal)
    ours = symmetric_contrastive(logits, torch.eye(5).bool()).mean()
    torch.testing.assert_close(ours, (rows + columns) / 2)


def test_transformers_agrees(logits):
    clip = pytest.importorskip("transformers.models.clip.modeling_clip")
    theirs = clip.image_text_contrastive_loss(logits)
    ours = symmetric_contrastive(logits, torch.eye(5).bool()).mean()
    torch.testing.assert_close(ours, theirs)


def test_order_does_not_matter(logits):
    facts = [{"a"}, {"b"}, {"a"}, {"a", "c"}, {"c"}]
    true = truth(facts, facts)
    order = torch.tensor([3, 1, 4, 0, 2])
    shuffled = symmetric_contrastive(logits[order][:, order], true[order][:, order])
    torch.testing.assert_close(shuffled, symmetric_contrastive(logits, true)[order])


def test_captions_that_say_the_same_are_not_pushed_apart():
    # Two clips of one meaning match both captions equally well: at the least value.
    logits = torch.tensor([[8.0, 8, -8], [8, 8, -8], [-8, -8, 8]], requires_grad=True)
    true = truth([{"a"}, {"a"}, {"b"}], [{"a"}, {"a"}, {"b"}])
    loss = symmetric_contrastive(logits, true)
    assert loss.tolist() == pytest.approx([math.log(2), math.log(2), 0], abs=1e-5)
    loss.sum().backward()
    assert logits.grad.abs().max() < 1e-5
    # As negatives of each other they would be.
    logits.grad = None
    symmetric_contrastive(logits, torch.eye(3).bool()).sum().backward()
    assert logits.grad.abs().max() > 0.4


def test_a_general_caption_is_true_of_a_special_clip_but_not_the_other_way():
    tone, high = frozenset({"tone"}), frozenset({"tone", ("tone", "high")})
    assert truth([tone, high], [tone, high]).tolist() == [[True, False], [True, True]]
    other = frozenset({"hum", ("hum", "high")})
    assert not truth([other], [high]).any()


def test_a_caption_that_is_not_true_of_its_clip_is_refused(logits):
    true = torch.eye(5).bool()
    true[2, 2] = False
    with pytest.raises(InputError, match=r"caption.*\[2\]"):
        symmetric_contrastive(logits, true)


def test_a_batch_of_one_costs_nothing():
    loss = symmetric_contrastive(torch.tensor([[3.0]]), torch.tensor([[True]]))
    assert loss.tolist() == [0.0]


def test_silence_is_free_at_right_angles_and_sign_does_not_matter():
    cosines = torch.tensor([[0.0, 0.0], [0.5, 0.1], [-0.5, 0.1]], requires_grad=True)
    loss = silence(cosines)
    torch.testing.assert_close(loss, torch.tensor([0.0, 0.13, 0.13]))
    loss.sum().backward()
    torch.testing.assert_close(cosines.grad, cosines.detach())  # towards 0


def test_silence_is_the_mean_over_captions_and_not_their_sum():
    cosines = torch.rand(3, 4)
    torch.testing.assert_close(silence(cosines.repeat(1, 2)), silence(cosines))
