"""Scores against the sources: known numbers, undefined cases, both kinds of domain."""

import math

import pytest
import torch

from speechbrain_lmac.domains.stft import MelDomain, STFTDomain
from speechbrain_lmac.metrics.separation import (
    foreground_share,
    ideal_ratio_mask,
    scores_of,
    si_sdr,
    soft_overlap,
    source_scores,
)
from speechbrain_lmac.types import Explanation

RATE = 16000
DOMAINS = [STFTDomain(RATE), MelDomain(RATE)]
each_domain = pytest.mark.parametrize("domain", DOMAINS, ids=["stft", "mel"])


def tones(*frequencies, n_samples=8000):
    """One tone per item, (B, N)."""
    time = torch.arange(n_samples) / RATE
    return torch.stack([0.3 * torch.sin(2 * math.pi * f * time) for f in frequencies])


def explanation_of(domain, wav, mask=None):
    """An explanation with a mask, by default of ones."""
    encoded = domain.encode(wav)
    mask = torch.ones_like(encoded.rep) if mask is None else mask
    return Explanation(mask, torch.zeros(len(wav)).long(), encoded, None)


def ideal_of(domain, foreground, background):
    """The ideal ratio mask of two waveforms, float32."""
    stems = (domain.magnitude(domain.encode(wav)) for wav in (foreground, background))
    return ideal_ratio_mask(*stems).float()


@each_domain
def test_names_are_those_that_the_domain_promises(domain):
    foreground, background = tones(500, 900), tones(4000, 6000)
    explanation = explanation_of(domain, foreground + background)
    scores = source_scores(domain, explanation, foreground, background)
    assert list(scores) == [score.name for score in scores_of(domain)]
    assert ("SI-SDR" in scores) == domain.listenable
    for values in scores.values():
        assert values.shape == (2,) and values.dtype == torch.float64
        assert values.isfinite().all()


@each_domain
def test_the_ideal_mask_has_the_best_scores_and_its_complement_the_worst(domain):
    foreground, background = tones(500, 900), tones(4000, 6000)
    wav = foreground + background
    ideal = ideal_of(domain, foreground, background)
    best, ones, worst = (
        source_scores(domain, explanation_of(domain, wav, mask), foreground, background)
        for mask in (ideal, torch.ones_like(ideal), 1 - ideal)
    )
    torch.testing.assert_close(best["IRM overlap"], torch.ones(2).double())
    torch.testing.assert_close(ones["IRM overlap"], ideal.double().mean((1, 2)))
    if domain.listenable:  # the clip itself has no artefact but rounding
        assert (ones.pop("SI-SAR") > 100).all()
        assert (best.pop("SI-SAR") > worst["SI-SAR"]).all()
    for name in best:
        assert (best[name] > ones[name]).all() and (ones[name] > worst[name]).all()
    assert (best["foreground share"] > 99).all()
    assert (worst["foreground share"] < 1).all()
    if domain.listenable:
        assert (best["SI-SDRi"] > 20).all()
        # the same energy: a clip has 0 dB, and keeping it whole gains nothing
        assert ones["SI-SDR"].abs().max() < 0.1
        assert ones["SI-SDRi"].abs().max() < 1e-4


@each_domain
def test_the_level_of_the_stems_does_not_matter(domain):
    foreground, background = tones(500), tones(4000)
    explanation = explanation_of(domain, foreground + background)
    loud = source_scores(domain, explanation, foreground, background)
    soft = source_scores(domain, explanation, 0.1 * foreground, 0.1 * background)
    loud.pop("SI-SAR", None)  # of the clip itself: rounding
    for name in loud:
        torch.testing.assert_close(loud[name], soft[name], rtol=1e-4, atol=1e-3)


@each_domain
def test_an_item_does_not_depend_on_its_batch(domain):
    foreground, background = tones(500, 700, 900), tones(4000, 5000, 6000)
    wav = foreground + background
    masks = torch.rand(domain.encode(wav).rep.shape)
    together = source_scores(
        domain, explanation_of(domain, wav, masks), foreground, background
    )
    for i in range(3):
        one = slice(i, i + 1)
        alone = source_scores(
            domain,
            explanation_of(domain, wav[one], masks[one]),
            foreground[one],
            background[one],
        )
        for name in together:
            torch.testing.assert_close(
                alone[name], together[name][one], rtol=1e-5, atol=1e-5
            )


@each_domain
def test_what_is_undefined_is_nan_and_nothing_else_is(domain):
    tone, nothing = tones(500), torch.zeros(1, 8000)
    empty = torch.zeros_like(domain.encode(tone).rep)
    scores = source_scores(domain, explanation_of(domain, tone, empty), tone, nothing)
    assert scores["foreground share"].isnan().all()
    assert scores["IRM overlap"].tolist() == [0.0]
    # two silent stems: nothing is ideal, and the empty mask agrees
    scores = source_scores(
        domain, explanation_of(domain, nothing, empty), nothing, nothing
    )
    assert all(values.isnan().all() for values in scores.values())
    # a mask of NaN
    scores = source_scores(
        domain, explanation_of(domain, tone, empty + math.nan), tone, nothing
    )
    assert scores["IRM overlap"].isnan().all()
    assert scores["foreground share"].isnan().all()


def test_a_silent_estimate_or_reference_has_no_si_sdr():
    tone, nothing = tones(500), torch.zeros(1, 8000)
    assert si_sdr(nothing, tone).isnan().all()
    assert si_sdr(tone, nothing).isnan().all()
    assert si_sdr(tone, 3 * tone).item() > 100


def test_overlap_of_known_masks():
    halves = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]])
    shifted = torch.tensor([[[0.0, 1.0, 1.0, 0.0]]])
    assert soft_overlap(halves, shifted).item() == pytest.approx(1 / 3)
    assert soft_overlap(halves, halves).item() == 1
    assert soft_overlap(halves, 0 * halves).item() == 0
    assert soft_overlap(0 * halves, 0 * halves).isnan().all()


def test_the_share_is_of_the_energy_kept():
    gain = torch.tensor([[[1.0, 0.5, 0.0]]])
    foreground = torch.tensor([[[1.0, 2.0, 9.0]]])
    background = torch.tensor([[[1.0, 0.0, 9.0]]])
    # 1 + 1 of 1 + 1 + 1
    share = foreground_share(gain, foreground, background)
    assert share.item() == pytest.approx(200 / 3)


@each_domain
def test_stems_of_another_shape_are_refused(domain):
    wav = tones(500, 900)
    explanation = explanation_of(domain, wav)
    with pytest.raises(ValueError, match=r"foreground .* \(2, 8000\), got \(1, 8000\)"):
        source_scores(domain, explanation, wav[:1], wav)
    with pytest.raises(ValueError, match=r"background .* \(2, 8000\), got \(2, 7999\)"):
        source_scores(domain, explanation, wav, wav[:, :-1])
    with pytest.raises(ValueError, match="ideal .* mask"):
        soft_overlap(torch.zeros(1, 2, 3), torch.zeros(1, 2, 4))
