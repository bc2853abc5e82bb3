"""Energy, other clips' masks and ideal masks: what is in them, and their padding."""

import math
from dataclasses import replace

import pytest
import torch

from speechbrain_lmac.classifiers import CompactClassifier
from speechbrain_lmac.domains import LearnedDomain, MelDomain, STFTDomain
from speechbrain_lmac.domains.codec import Codec
from speechbrain_lmac.explainers import (
    AllOnesExplainer,
    EnergyExplainer,
    IdealMask,
    OtherClipMask,
)
from speechbrain_lmac.explainers.bounds import log_magnitude, magnitude
from speechbrain_lmac.explainers.controls import mask_means, with_mask
from speechbrain_lmac.types import ClassifierOutput
from speechbrain_lmac.utils.errors import InputError

RATE, HOP = 8000, 93


@pytest.fixture(scope="module")
def domain():
    return STFTDomain(RATE, n_fft=256, n_mels=16)


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return CompactClassifier(3, 16, channels=[4, 8]).eval()


def noise(n_clips, n_samples=3000, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return 0.3 * torch.randn(n_clips, n_samples, generator=draw)


class OfMean(AllOnesExplainer):
    """A mask of the clip's own values, each clip with its mean; counts its calls."""

    def __init__(self, domain, classifier, means):
        super().__init__(domain, classifier)
        self.means, self.calls = means, 0

    def explain(self, wav, target=None, lens=None):
        """The same mask wherever the clip stands."""
        self.calls += 1
        explanation = super().explain(wav, target, lens)
        means = torch.tensor(self.means[: len(wav)])[:, None, None]
        return replace(explanation, mask=explanation.mask * means)


class OwnShape(AllOnesExplainer):
    """The mask is the clip's representation, cut at 1."""

    def explain(self, wav, target=None, lens=None):
        """A mask that tells whose it is."""
        explanation = super().explain(wav, target, lens)
        return with_mask(explanation, explanation.encoded.rep.clamp(max=1))


# --- Energy ---------------------------------------------------------------------------


@pytest.mark.parametrize("of", [log_magnitude, magnitude])
def test_energy_is_the_clip_with_the_means_of_the_reference(domain, classifier, of):
    means = [0.02, 0.3, 0.9, math.nan]
    wav = noise(4)
    reference = OfMean(domain, classifier, means)
    explanation = EnergyExplainer(reference, of).explain(wav)
    torch.testing.assert_close(
        mask_means(explanation)[:3], torch.tensor(means[:3]).double(), rtol=0, atol=1e-6
    )
    assert explanation.mask[3].isnan().all()
    values = of(explanation.encoded)
    for mask, value in zip(explanation.mask[:3], values, strict=False):
        # A power of the share of the maximum: the order of the cells, and straight in
        # the logarithms.
        assert mask.argmax() == value.argmax() and mask.max() > 0.9999
        share = (value / value.max()).double().log()
        heard = mask > 1e-20
        slope = mask.double().log()[heard] / share[heard]
        slope = slope[share[heard] < -0.1]
        torch.testing.assert_close(
            slope, slope.mean().expand_as(slope), rtol=1e-3, atol=0
        )
    other = EnergyExplainer(reference, log_magnitude if of is magnitude else magnitude)
    assert not torch.allclose(
        other.explain(wav).mask[0], explanation.mask[0], atol=1e-3
    )


def test_the_energy_of_silence_is_flat(domain, classifier):
    reference = OfMean(domain, classifier, [0.25])
    explanation = EnergyExplainer(reference).explain(torch.zeros(1, 2000))
    torch.testing.assert_close(
        explanation.mask, torch.full_like(explanation.mask, 0.25), rtol=1e-5, atol=0
    )


def test_energy_of_a_padded_clip_is_that_of_the_clip(domain, classifier):
    reference = OfMean(domain, classifier, [0.2, 0.2])
    clip = noise(1, 30 * HOP)
    alone = EnergyExplainer(reference).explain(clip).mask
    batch = torch.cat(
        [torch.nn.functional.pad(clip, (0, 20 * HOP)), noise(1, 50 * HOP)]
    )
    padded = EnergyExplainer(reference).explain(batch, lens=torch.tensor([0.6, 1.0]))
    frames = int(padded.encoded.frames[0])
    assert (padded.mask[0, frames:] == 0).all()
    torch.testing.assert_close(padded.mask[:1, : alone.shape[1]], alone)


# --- Another clip ---------------------------------------------------------------------


class ByLevel(torch.nn.Module):
    """Class 0 of quiet clips, class 1 of louder ones, class 2 of none."""

    masks_padding = False

    def forward(self, features):
        level = features.mean((1, 2))
        logits = torch.stack([0.2 - level, level - 0.2, level * 0 - 9], 1)
        return ClassifierOutput(logits, ())


def pool_of(domain):
    """Four clips of the classes 0, 1, 1, 0, and their masks."""
    clips = noise(4, seed=5) * torch.tensor([0.01, 3.0, 3.0, 0.01])[:, None]
    return clips, OwnShape(domain, ByLevel()).explain(clips).mask


def whose(mask, masks):
    """The place of a mask in a pool."""
    same = [torch.equal(mask, other) for other in masks]
    return same.index(True)


def test_masks_of_other_clips_are_of_the_class_and_never_the_clips_own(domain):
    clips, masks = pool_of(domain)
    reference = OwnShape(domain, ByLevel())
    wav = torch.cat([clips, noise(30, seed=6) * 3])
    same = OtherClipMask(reference, lambda: clips, same_class=True).explain(wav)
    places = [whose(mask, masks) for mask in same.mask]
    assert places[:4] == [3, 2, 1, 0]  # the other one of the two
    assert set(places[4:]) == {1, 2}
    assert same.target.tolist() == [0, 1, 1, 0] + [1] * 30
    any_class = OtherClipMask(reference, lambda: clips, same_class=False).explain(wav)
    places = [whose(mask, masks) for mask in any_class.mask]
    assert all(place != own for own, place in enumerate(places[:4]))
    assert set(places[4:]) == {0, 1, 2, 3}
    # A class without another clip: NaN, which the evaluation counts.
    lonely = OtherClipMask(reference, lambda: clips, same_class=True)
    mask = lonely.explain(wav[:2], torch.tensor([2, 1])).mask
    assert mask[0].isnan().all() and mask[1].isfinite().all()


def test_draws_of_other_clips_depend_on_the_clip_and_the_seed_alone(domain):
    clips, _ = pool_of(domain)
    reference = OwnShape(domain, ByLevel())
    wav = noise(6, seed=6)
    explainer = OtherClipMask(reference, lambda: clips, same_class=False, batch_size=3)
    together = explainer.explain(wav).mask
    alone = [explainer.explain(wav[i : i + 1]).mask for i in (5, 4, 3, 2, 1, 0)]
    assert torch.equal(together, torch.cat(alone).flip(0))
    other = OtherClipMask(reference, lambda: clips, same_class=False, seed=2)
    assert not torch.equal(together, other.explain(wav).mask)


def test_masks_of_other_clips_are_repeated_and_cut(domain):
    clips, masks = pool_of(domain)
    reference = OwnShape(domain, ByLevel())
    explainer = OtherClipMask(reference, lambda: clips[:1], same_class=False)
    n_frames = masks.shape[1]
    short = explainer.explain(noise(1, 10 * HOP)).mask
    assert torch.equal(short[0], masks[0, :11])
    long = explainer.explain(noise(1, 80 * HOP)).mask
    assert torch.equal(long[0], masks[0].repeat(3, 1)[:81]) and n_frames < 81
    # The same recording in a padded batch has the same draw and the same frames.
    explainer = OtherClipMask(reference, lambda: clips, same_class=False)
    batch = noise(2, 50 * HOP)
    lens = torch.tensor([0.6, 1.0])
    padded = explainer.explain(batch, lens=lens)
    alone = explainer.explain(batch[:1, : 30 * HOP]).mask
    frames = int(padded.encoded.frames[0])
    assert (padded.mask[0, frames:] == 0).all()
    assert torch.equal(padded.mask[:1, : alone.shape[1]], alone)


def test_other_clips_need_a_clip(domain):
    nothing = OtherClipMask(
        OwnShape(domain, ByLevel()), lambda: torch.zeros(0, 9), True
    )
    with pytest.raises(InputError, match="clips"):
        nothing.explain(noise(1))


# --- Ideal masks ----------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [1, 2])
def test_the_ideal_mask_is_the_share_of_the_foreground(domain, classifier, exponent):
    low, high = (
        torch.sin(2 * math.pi * hz / RATE * torch.arange(4000))[None] / 4
        for hz in (500, 3000)
    )
    ideal = IdealMask(domain, classifier, exponent)
    explanation = ideal.explain_mixture(low + 3 * high, low, 3 * high)
    assert explanation.mask.shape == explanation.encoded.rep.shape
    bins = [round(hz / RATE * 256) for hz in (500, 3000)]
    inner = explanation.mask[0, 5:-5][:, bins]
    assert (inner[:, 0] > 0.98).all() and (inner[:, 1] < 0.02).all()
    # A third of the magnitude in every cell, and a tenth of its power... by hand:
    # 1 / (1 + 3) and 1 / (1 + 9).
    same = ideal.explain_mixture(4 * low, low, 3 * low).mask[0, 5:-5, bins[0]]
    expected = {1: 0.25, 2: 0.1}[exponent]
    torch.testing.assert_close(same, torch.full_like(same, expected))
    # Both stems together are the mixture: their masks add up to 1.
    rest = ideal.explain_mixture(low + 3 * high, 3 * high, low).mask
    total = explanation.mask + rest
    assert ((total - 1).abs() < 1e-5)[:, 5:-5, bins].all()


def test_the_ideal_mask_is_that_of_the_explained_source(domain, classifier):
    stems = noise(3, 4000), noise(3, 4000, seed=1)
    classes = torch.tensor([0, 0, 0]), torch.tensor([1, 1, -1])
    ideal, wav = IdealMask(domain, classifier), sum(stems)
    target = torch.tensor([0, 1, 2])  # of the foreground, the background, of neither
    first = ideal.explain_mixture(wav, *stems, target).mask
    second = ideal.explain_mixture(wav, *stems[::-1], target).mask
    found = ideal.explain_mixture(wav, *stems, target, classes=classes).mask
    assert torch.equal(found, torch.stack([first[0], second[1], first[2]]))


def test_ideal_masks_of_every_domain_and_of_padded_clips(classifier):
    stft = STFTDomain(RATE, n_fft=256, n_mels=16)
    codec = LearnedDomain(stft, Codec(RATE, 16, 32)).requires_grad_(False)
    foreground, background = noise(1, 30 * HOP), noise(1, 30 * HOP, seed=1)
    for each in (stft, codec, MelDomain(RATE, n_fft=256, n_mels=16)):
        ideal = IdealMask(each, classifier)
        alone = ideal.explain_mixture(foreground + background, foreground, background)
        assert ((alone.mask >= 0) & (alone.mask <= 1)).all()
        stems = [
            torch.nn.functional.pad(stem, (0, 20 * HOP))
            for stem in (foreground, background)
        ]
        lens = torch.tensor([0.6])
        padded = ideal.explain_mixture(sum(stems), *stems, lens=lens)
        n = alone.mask.shape[1] - 1
        torch.testing.assert_close(padded.mask[:, :n], alone.mask[:, :n])
        assert (padded.mask[:, int(padded.encoded.frames) :] == 0).all()
        assert torch.equal(padded.target, alone.target)


def test_waveforms_alone_have_no_ideal_mask(domain, classifier):
    with pytest.raises(InputError, match="stems"):
        IdealMask(domain, classifier).explain(noise(1))
    with pytest.raises(InputError, match="exponent.*0"):
        IdealMask(domain, classifier, 0)
