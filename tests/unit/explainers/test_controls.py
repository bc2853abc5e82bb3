"""Masks of ones and random masks: their size, their draws, their memory."""

import math
from dataclasses import dataclass, field

import pytest
import torch

from speechbrain_lmac.explainers.controls import (
    AllOnesExplainer,
    RandomExplainer,
    Remembered,
)
from speechbrain_lmac.types import ClassifierOutput, Encoded, Explanation

FRAMES, BINS = 20, 13


class Domain:
    """Frames of a waveform of FRAMES * BINS samples."""

    def encode(self, wav, lens=None):
        rep = wav.abs().reshape(-1, FRAMES, BINS)
        return Encoded(rep, torch.ones_like(rep), wav.shape[1])

    def features(self, encoded):
        return encoded.rep


def classifier(features):
    """The first three bins, summed over time."""
    return ClassifierOutput(features[:, :, :3].sum(1), ())


@dataclass
class OfMean:
    """A mask of one value per clip; records the targets of its calls."""

    means: list
    targets: list = field(default_factory=list)

    def explain(self, wav, target=None, lens=None):
        self.targets.append(target)
        encoded = Domain().encode(wav)
        mask = torch.ones_like(encoded.rep) * torch.tensor(self.means)[:, None, None]
        logits = classifier(encoded.rep).logits
        target = logits.argmax(1) if target is None else target
        return Explanation(mask, target, encoded, logits)


def clips(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, FRAMES * BINS, generator=generator)


def random_masks(wav, means, **options):
    return RandomExplainer(OfMean(means), **options).explain(wav).mask


MEANS = [0.0, 1e-5, 0.003, 0.25, 0.5, 0.9, 0.9999, 1.0]


@pytest.mark.parametrize("block", [(1, 1), (4, 3), (7, 5), (20, 13), (99, 99)])
def test_the_mean_of_each_clip_is_the_references(block):
    mask = random_masks(clips(len(MEANS)), MEANS, block=block)
    means = mask.double().mean(dim=(1, 2))
    torch.testing.assert_close(means, torch.tensor(MEANS).double(), rtol=0, atol=1e-6)
    assert mask.shape == (len(MEANS), FRAMES, BINS)
    assert ((mask >= 0) & (mask <= 1)).all()
    assert (mask[0] == 0).all()
    assert (mask[-1] == 1).all()


def test_values_differ_between_blocks_and_not_within():
    mask = random_masks(clips(1), [0.4], block=(4, 5))[0]
    blocks = {
        (row, column): mask[4 * row : 4 * row + 4, 5 * column : 5 * column + 5]
        for row in range(5)
        for column in range(3)  # the last one is cut to three bins
    }
    assert all((block == block[0, 0]).all() for block in blocks.values())
    assert len({block[0, 0].item() for block in blocks.values()}) == 15


def test_a_draw_depends_on_the_clip_and_not_on_its_batch():
    wav = clips(3)
    together = random_masks(wav, [0.2, 0.4, 0.6])
    turned = random_masks(wav.flip(0), [0.6, 0.4, 0.2]).flip(0)
    alone = [random_masks(wav[i : i + 1], [m]) for i, m in enumerate([0.2, 0.4, 0.6])]
    assert torch.equal(together, turned)
    assert torch.equal(together, torch.cat(alone))


def test_a_draw_depends_on_the_clip_and_on_the_seed():
    wav = clips(2)
    mask = random_masks(wav, [0.5, 0.5], seed=1)
    assert not torch.equal(mask[0], mask[1])
    assert torch.equal(mask, random_masks(wav, [0.5, 0.5], seed=1))
    assert not torch.equal(mask, random_masks(wav, [0.5, 0.5], seed=2))


def test_the_process_history_is_neither_used_nor_changed():
    wav = clips(1)
    torch.manual_seed(1)
    first = random_masks(wav, [0.5])
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(first, random_masks(wav, [0.5]))
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


def test_a_broken_reference_has_a_broken_control():
    mask = random_masks(clips(2), [math.nan, 0.5])
    assert mask[0].isnan().all()
    assert mask[1].isfinite().all()


def test_the_references_target_and_logits_are_kept():
    wav, target = clips(2), torch.tensor([2, 0])
    reference = OfMean([0.5, 0.5])
    explanation = RandomExplainer(reference).explain(wav, target)
    assert reference.targets == [target]
    assert explanation.target is target
    assert torch.equal(explanation.logits, classifier(Domain().encode(wav).rep).logits)


@pytest.mark.parametrize("block", [(0, 1), (1,), (2, 3, 4)])
def test_a_wrong_block_is_refused(block):
    with pytest.raises(ValueError, match="block.*got"):
        RandomExplainer(OfMean([0.5]), block=block)


def test_all_ones():
    explainer = AllOnesExplainer(Domain(), classifier)
    wav = torch.zeros(2, FRAMES, BINS)
    wav[0, :, 1] = -1
    wav[1, :, 2] = 1
    explanation = explainer.explain(wav.flatten(1))
    assert explanation.mask.shape == (2, FRAMES, BINS)
    assert (explanation.mask == 1).all()
    assert explanation.target.tolist() == [1, 2]
    assert explanation.logits.tolist() == [[0, 20, 0], [0, 0, 20]]
    given = explainer.explain(wav.flatten(1), torch.tensor([0, 0]))
    assert given.target.tolist() == [0, 0]


def test_remembered_asks_once_per_batch_and_target():
    reference = OfMean([0.5])
    remembered = Remembered(reference)
    first, second = clips(1, seed=1), clips(1, seed=2)
    target = torch.tensor([1])
    assert remembered.explain(first) is remembered.explain(first)
    assert reference.targets == [None]
    assert remembered.explain(first, target).target is target
    other = remembered.explain(second)
    assert torch.equal(other.encoded.rep, Domain().encode(second).rep)
    assert reference.targets == [None, target, None]
    # equal samples in another tensor may be written to: computed again
    remembered.explain(second.clone())
    assert len(reference.targets) == 4
