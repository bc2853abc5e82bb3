"""Masks that are optimised for each clip: their size, their class, their optimum."""

import math
from dataclasses import replace

import pytest
import torch

from speechbrain_lmac.domains import STFTDomain
from speechbrain_lmac.explainers import AllOnesExplainer, BestMask, WrongClassMask
from speechbrain_lmac.explainers.controls import (
    attached,
    bias_of_mean,
    mask_means,
)
from speechbrain_lmac.explainers.optimised import (
    flat,
    mask_logits,
    optimised_masks,
    size_free_objective,
)
from speechbrain_lmac.types import ClassifierOutput
from speechbrain_lmac.utils.errors import InputError

RATE, HOP, BANDS = 8000, 93, 16


class ByBand(torch.nn.Module):
    """A class for each quarter of the bands: its mean level."""

    masks_padding = False

    def forward(self, features):
        quarters = features.unflatten(2, (4, BANDS // 4)).mean((1, 3))
        return ClassifierOutput(10 * quarters, ())


class OneClass(torch.nn.Module):
    """A single class."""

    def forward(self, features):
        return ClassifierOutput(features.mean((1, 2))[:, None], ())


class OfMean(AllOnesExplainer):
    """A flat mask of the same mean for each clip."""

    def __init__(self, classifier, mean=0.25):
        super().__init__(STFTDomain(RATE, n_fft=256, n_mels=BANDS), classifier)
        self.mean = mean

    def explain(self, wav, target=None, lens=None):
        """Constant."""
        explanation = super().explain(wav, target, lens)
        return replace(explanation, mask=explanation.mask * self.mean)


def noise(n_clips, n_samples=40 * HOP, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return 0.3 * torch.randn(n_clips, n_samples, generator=draw)


def made(kind, mean=0.25, classifier=None, **settings):
    reference = OfMean(ByBand() if classifier is None else classifier, mean)
    parts = (reference.domain, reference.classifier, reference)
    return kind(*parts, **{"cell": (8, 2), "steps": 15} | settings)


@pytest.mark.parametrize("mean", [1e-4, 0.05, 0.5, 0.97])
def test_the_optimum_has_the_size_of_the_reference(mean):
    explanation = made(BestMask, mean).explain(noise(2))
    means = mask_means(explanation)
    torch.testing.assert_close(means, torch.full_like(means, mean), rtol=0, atol=2e-6)
    assert ((explanation.mask >= 0) & (explanation.mask <= 1)).all()


def test_the_optimum_keeps_the_bands_of_the_class_and_drops_the_others():
    wav = noise(3)
    explanation = made(BestMask).explain(wav, torch.tensor([0, 2, 3]))
    domain = STFTDomain(RATE, n_fft=256, n_mels=BANDS)
    edges = (domain.mel_matrix.argmax(0)[:: BANDS // 4]).tolist() + [129]
    for mask, label in zip(explanation.mask, (0, 2, 3), strict=True):
        quarters = [mask[:, a:b].mean() for a, b in zip(edges, edges[1:], strict=False)]
        assert max(range(4), key=quarters.__getitem__) == label
    flat = OfMean(ByBand()).explain(wav, explanation.target)
    scores = [
        size_free_objective(domain, ByBand(), e.encoded, e.mask, e.target)
        for e in (explanation, flat)
    ]
    assert (scores[0] < scores[1] - 0.5).all()


def test_the_optimum_starts_from_the_mask_of_the_reference():
    # Hardly a step: the reference's own mask, or a flat one of its mean.
    wav = noise(2)
    shaped = made(BestMask, steps=1, learning_rate=1e-6)
    shaped.reference = made(BestMask, 0.3)
    expected = shaped.reference.explain(wav).mask
    torch.testing.assert_close(shaped.explain(wav).mask, expected, rtol=1e-3, atol=1e-4)
    assert expected.std() > 0.1
    shaped.start = flat
    mask = shaped.explain(wav).mask
    torch.testing.assert_close(mask, torch.full_like(mask, 0.3), rtol=1e-3, atol=0)
    assert made(BestMask).start is mask_logits and made(WrongClassMask).start is flat


def test_the_objective_by_hand():
    domain = STFTDomain(RATE, n_fft=256, n_mels=BANDS)
    encoded = domain.encode(noise(2))
    mask = torch.rand(encoded.rep.shape, generator=torch.Generator().manual_seed(1))
    target = torch.tensor([0, 3])
    p_in, p_out = (
        ByBand()(domain.features(domain.apply_mask(encoded, m))).logits.softmax(1)
        for m in (mask, 1 - mask)
    )
    items = torch.arange(2)
    expected = -p_in[items, target].log() - (1 - p_out[items, target]).log()
    found = size_free_objective(domain, ByBand(), encoded, mask, target)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", [BestMask, WrongClassMask])
def test_a_clip_has_its_optimum_in_any_batch(kind):
    wav = noise(3)
    wav[1] *= 20
    explainer = made(kind, steps=6)
    whole = explainer.explain(wav)
    parts = [explainer.explain(wav[i : i + 1]) for i in (2, 1, 0)][::-1]
    mask = torch.cat([part.mask for part in parts])
    torch.testing.assert_close(mask, whole.mask, rtol=1e-3, atol=1e-4)
    assert torch.equal(torch.cat([part.target for part in parts]), whole.target)
    # The same, cropped, where a clip is padded.
    lens = torch.tensor([0.5, 1.0, 1.0])
    padded = explainer.explain(wav, lens=lens)
    alone = explainer.explain(wav[:1, : 20 * HOP])
    frames = alone.mask.shape[1]
    torch.testing.assert_close(
        padded.mask[:1, :frames], alone.mask, rtol=1e-3, atol=1e-3
    )
    assert (padded.mask[0, frames:] == 0).all()
    assert padded.target[0] == alone.target[0]


def test_nothing_is_left_behind_and_no_gradient_is_needed():
    classifier = torch.nn.Sequential(ByBand())
    explainer = made(BestMask, classifier=ByBand(), steps=2)
    state = torch.get_rng_state()
    with torch.no_grad():
        first = explainer.explain(noise(1))
        assert not torch.is_grad_enabled()
    assert torch.equal(first.mask, explainer.explain(noise(1)).mask)
    assert torch.equal(state, torch.get_rng_state())
    assert not first.mask.requires_grad and not list(classifier.parameters())


def test_wrong_classes_are_drawn_from_all_others():
    wav = noise(80, 5 * HOP)
    explainer = made(WrongClassMask, steps=1)
    right = torch.arange(80) % 4
    wrong = explainer.explain(wav, right)
    assert (wrong.target != right).all()
    for label in range(4):
        assert set(wrong.target[right == label].tolist()) == {0, 1, 2, 3} - {label}
    other = made(WrongClassMask, steps=1, seed=2).explain(wav, right)
    assert not torch.equal(other.target, wrong.target)
    with pytest.raises(InputError, match="two classes.*1"):
        made(WrongClassMask, classifier=OneClass()).explain(wav)


def test_a_mask_of_any_size_is_better_than_one_of_the_size_of_the_reference():
    wav = noise(2)
    equal, free = (
        made(WrongClassMask, 0.02, equal_size=size).explain(wav)
        for size in (True, False)
    )
    assert torch.equal(equal.target, free.target)
    domain = STFTDomain(RATE, n_fft=256, n_mels=BANDS)
    scores = [
        size_free_objective(domain, ByBand(), e.encoded, e.mask, e.target)
        for e in (equal, free)
    ]
    assert (scores[1] < scores[0]).all() and (mask_means(free) > 0.1).all()


def test_a_broken_reference_has_a_broken_optimum_and_silence_has_one():
    wav = noise(2)
    wav[1] = 0
    reference = OfMean(ByBand())
    encoded = reference.domain.encode(wav)
    masks = optimised_masks(
        reference.domain,
        reference.classifier,
        encoded,
        flat(encoded.rep),
        torch.tensor([0, 1]),
        torch.tensor([math.nan, 0.3]),
        steps=3,
    )
    assert masks[0].isnan().all() and masks[1].isfinite().all()


@pytest.mark.parametrize("spread", [0.0, 1.0, 30.0])
def test_the_bias_holds_the_mean_and_has_the_gradient_of_finite_differences(spread):
    draw = torch.Generator().manual_seed(0)
    logits = (spread * torch.randn(3, 6, 5, generator=draw)).double()
    means = torch.tensor([0.01, 0.4, 0.95]).double()
    bias = bias_of_mean(logits, means, torch.zeros(3).double(), 60)
    mask = torch.sigmoid(logits + bias[:, None, None])
    torch.testing.assert_close(mask.mean((1, 2)), means, rtol=0, atol=1e-8)
    if spread == 1.0:
        logits.requires_grad_()
        of = lambda z: attached(bias, z, means)[:, 0, 0]  # noqa: E731
        (gradient,) = torch.autograd.grad(of(logits).sum(), logits)
        step = torch.zeros_like(logits)
        step[:, 2, 3] = 1e-5
        up, down = (
            bias_of_mean(logits.detach() + s, means, bias, 60) for s in (step, -step)
        )
        torch.testing.assert_close(
            gradient[:, 2, 3], (up - down) / 2e-5, rtol=1e-4, atol=1e-7
        )


@pytest.mark.parametrize(
    "settings, message",
    [({"cell": (8,)}, "cell"), ({"cell": (0, 4)}, "cell.*0"), ({"steps": 0}, "steps")],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        made(BestMask, **settings)
