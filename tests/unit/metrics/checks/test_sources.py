"""Known sources: two tones under masks whose separation is known."""

import math

import pytest
import torch

from speechbrain_lmac.data.conditions import GroundTruth
from speechbrain_lmac.domains.stft import MelDomain, STFTDomain
from speechbrain_lmac.metrics.checks.sources import (
    SourceCheck,
    energy_kept,
    source_auc,
)
from speechbrain_lmac.types import ClassifierOutput, Explanation
from tests.explained import explained

RATE, N = 16000, 8000
DOMAIN, MEL = STFTDomain(RATE), MelDomain(RATE)
LOW, HIGH, NEITHER = range(3)
KEPT, AUC, GAIN = "energy kept", "source AUC", "target SI-SDRi"


def zeros(features):
    """A classifier without preference."""
    return ClassifierOutput(torch.zeros(len(features), 3), ())


def tones(*frequencies, n=N):
    time = torch.arange(n) / RATE
    return torch.stack([torch.sin(2 * torch.pi * f * time) for f in frequencies])


def low_half(encoded):
    mask = torch.full_like(encoded.rep, 0.1)
    mask[..., : mask.shape[2] // 4] = 1
    return mask


def scores_of(stems, target, classes=None, mask=low_half, domain=DOMAIN, lens=None):
    encoded = domain.encode(sum(stems), lens)
    explanation = Explanation(
        mask(encoded), torch.tensor(target), encoded, torch.zeros(len(target), 3)
    )
    known = {} if classes is None else {"classes": torch.tensor(classes)}
    return SourceCheck()(explained(domain, zeros, explanation, stems=stems, **known))


def test_the_explained_class_chooses_the_source():
    stems = tones(500, 500, 500), tones(6000, 6000, 6000)
    target, classes = [LOW, HIGH, NEITHER], [[LOW] * 3, [HIGH] * 3]
    scores = scores_of(stems, target, classes)
    truth = GroundTruth(stems=lambda ids: stems, classes=lambda ids: classes)
    assert list(scores) == [s.name for s in SourceCheck().scores(DOMAIN, truth)]
    assert scores[KEPT][:2].tolist() == pytest.approx([20, -20], abs=0.1)
    assert scores[AUC][0] > 0.98 and scores[AUC][0] + scores[AUC][1] == (
        pytest.approx(1, abs=1e-6)
    )
    assert scores[GAIN][0] > 10 and scores[GAIN][1] < -10
    assert all(values[2].isnan() for values in scores.values())


def test_a_background_without_a_class_leaves_the_foreground():
    stems = tones(500, 500), tones(6000, 6000)
    foreground = scores_of(stems, [NEITHER, HIGH])
    assert list(foreground) == [KEPT, AUC]  # SI-SDRi is that of the table
    assert foreground[KEPT].tolist() == pytest.approx([20, 20], abs=0.1)
    partly = scores_of(stems, [LOW, HIGH], [[LOW, LOW], [-1, -1]])
    assert partly[KEPT].isnan().tolist() == [False, True]
    same = scores_of(stems, [LOW, LOW], [[LOW, LOW], [LOW, HIGH]])
    assert same[KEPT].isnan().tolist() == [True, False]


@pytest.mark.parametrize("domain", [DOMAIN, MEL])
def test_a_constant_mask_is_at_chance(domain):
    stems = 2 * tones(500), tones(6000)
    known = {"classes": [[LOW], [HIGH]], "domain": domain}
    scores = scores_of(stems, [LOW], mask=lambda e: 0.3 + 0 * e.rep, **known)
    ones = scores_of(stems, [LOW], mask=lambda e: 1 + 0 * e.rep, **known)
    assert scores[AUC].tolist() == ones[AUC].tolist() == pytest.approx([0.5])
    torch.testing.assert_close(scores[KEPT], ones[KEPT])
    if domain is DOMAIN:  # that of the waveforms
        assert ones[KEPT].item() == pytest.approx(20 * math.log10(2), abs=0.1)
    assert (GAIN in scores) == domain.listenable


def test_silent_stems_and_masks_without_a_number_are_undefined():
    stems = tones(500, 500, 500, 500), tones(6000, 6000, 6000, 6000)
    stems[0][0] = stems[1][1] = 0

    def mask(encoded):
        mask = low_half(encoded)
        mask[2, 0, 0] = torch.nan
        mask[3] = 0
        return mask

    scores = scores_of(stems, [LOW] * 4, mask=mask)
    assert scores[KEPT].isnan().all()
    assert scores[AUC].isnan().tolist() == [True, True, True, False]
    assert scores[AUC][3] == 0.5


def test_a_padded_clip_has_the_scores_that_it_has_alone():
    own, other = tones(500, n=3000), tones(6000, n=3000)
    alone = scores_of((own, other), [LOW])
    pad = torch.nn.functional.pad
    stems = [torch.cat([tones(700), pad(stem, (0, N - 3000))]) for stem in (own, other)]
    lens = torch.tensor([1.0, 3000 / N])
    padded = scores_of(stems, [LOW, LOW], lens=lens)
    for name, values in alone.items():
        assert padded[name][1].item() == pytest.approx(values.item(), abs=1e-3), name


def test_the_other_source_has_the_opposite_scores():
    draw = torch.Generator().manual_seed(0)
    mask, one, other = torch.rand(3, 2, 5, 6, generator=draw)
    kept, auc = energy_kept(mask, one, other), source_auc(mask, one, other)
    torch.testing.assert_close(energy_kept(mask, other, one), -kept)
    torch.testing.assert_close(source_auc(mask, other, one), 1 - auc)
    # Neither level nor a monotonic change of the mask changes the ranking.
    torch.testing.assert_close(source_auc(mask**3, 7 * one, 7 * other), auc)


def test_without_stems_there_is_no_column():
    assert SourceCheck().scores(DOMAIN, GroundTruth()) == ()
