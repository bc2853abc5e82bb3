"""Headroom: the share of what a mask of the same size can reach."""

import pytest
import torch

from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.explainers.optimised import BestMask, flat
from speechbrain_lmac.metrics import AG, AI
from speechbrain_lmac.metrics.checks import headroom
from speechbrain_lmac.metrics.checks.headroom import Fixed, Headroom
from speechbrain_lmac.types import ClassifierOutput, Explanation
from tests.explained import explained

RATE, N = 16000, 4000
NAMES = ["AI of optimum", "AG of optimum"]


class LowOrHigh:
    """Class 1 where the upper half of the bands is louder than the lower half."""

    masks_padding = False

    def __call__(self, features):
        low, high = features.mean(1).chunk(2, dim=1)
        return ClassifierOutput(4 * torch.stack([low.mean(1), high.mean(1)], 1), ())


@pytest.fixture(scope="module")
def domain():
    return STFTDomain(RATE)


def explanation_of(domain, mask, n=3):
    wav = torch.randn(n, N, generator=torch.Generator().manual_seed(0))
    encoded = domain.encode(wav)
    logits = LowOrHigh()(domain.features(encoded)).logits
    return Explanation(mask(encoded.rep), torch.tensor([0, 1, 1])[:n], encoded, logits)


def lower_half(rep):
    mask = torch.zeros_like(rep)
    mask[:, :, : mask.shape[2] // 2] = 1
    return mask


def upper_half(rep):
    return lower_half(rep).flip(2)


def scores_of(domain, mask, check=None, classifier=None):
    batch = explained(domain, classifier or LowOrHigh(), explanation_of(domain, mask))
    return (check or Headroom(steps=10))(batch), batch


def test_the_optimum_itself_has_all_of_it(domain):
    given = explanation_of(domain, lambda rep: torch.full_like(rep, 0.3))
    own = BestMask(domain, LowOrHigh(), Fixed(given), steps=10, start=flat)
    best = own.explain(given.encoded.wav)
    scores = Headroom(steps=10)(explained(domain, LowOrHigh(), best))
    assert list(scores) == NAMES
    for values in scores.values():
        assert values.tolist() == pytest.approx([100, 100, 100], abs=0.01)


def test_a_mask_of_the_other_class_has_none_of_it(domain):
    scores, batch = scores_of(domain, lower_half)
    assert AI(batch.evidence).tolist() == [100, 0, 0]
    assert scores["AI of optimum"].tolist() == [100, 0, 0]
    assert scores["AG of optimum"][1:].tolist() == [0, 0]
    optima = Headroom(steps=10).optima(batch)
    share = AG(batch.evidence)[0] / max(AG(batch.evidence)[0], optima[1, 0])
    assert scores["AG of optimum"][0].item() == pytest.approx(100 * share.item())


def test_masks_of_ones_leave_no_headroom(domain):
    # No other mask has that size: neither score can rise.
    scores, _ = scores_of(domain, torch.ones_like)
    assert all(values.isnan().all() for values in scores.values())


def test_an_optimum_is_computed_once_for_a_size(domain, monkeypatch):
    sizes = []

    class Counted(BestMask):
        def explain(self, wav, *rest):
            sizes.append(self.reference.explanation.mask.mean().item())
            return super().explain(wav, *rest)

    monkeypatch.setattr(headroom, "BestMask", Counted)
    check, classifier = Headroom(steps=2), LowOrHigh()
    for mask in (lower_half, upper_half, torch.zeros_like, lower_half):
        scores_of(domain, mask, check, classifier)
    assert sizes == pytest.approx([0.499, 0], abs=1e-4)
    scores_of(domain, lower_half, check, LowOrHigh())  # another classifier
    assert len(sizes) == 3


def test_a_mask_with_a_hole_has_no_score(domain):
    def broken(rep):
        mask = lower_half(rep)
        mask[0, 0, 0] = torch.nan
        return mask

    scores, _ = scores_of(domain, broken, Headroom(steps=2))
    for values in scores.values():
        assert values.isnan().tolist() == [True, False, False]
