"""The decoded audio: its scores are those of `explain`, at a level of its own."""

import pytest
import torch

from speechbrain_lmac.classifiers import CompactClassifier
from speechbrain_lmac.data.conditions import GroundTruth
from speechbrain_lmac.domains.stft import MagnitudeSTFTDomain, MelDomain
from speechbrain_lmac.explainers import AllOnesExplainer
from speechbrain_lmac.explainers.controls import with_mask
from speechbrain_lmac.inference.explain_batch import explain_batch
from speechbrain_lmac.metrics.checks.decoded import DECODED_SCORES, DecodedCheck
from tests.explained import explained

RATE, N = 16000, 4000
DOMAIN = MagnitudeSTFTDomain(RATE)
EXPLANATION, REST, SAME = (score.name for score in DECODED_SCORES)


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(1)
    return CompactClassifier(3, channels=(3, 4)).eval()


class Constant(AllOnesExplainer):
    """A mask of one value, or two halves."""

    def __init__(self, classifier, low=0.9, high=0.9, domain=DOMAIN):
        super().__init__(domain, classifier)
        self.halves = low, high

    def explain(self, wav, target=None, lens=None):
        explanation = super().explain(wav, target, lens)
        mask = torch.full_like(explanation.mask, self.halves[0])
        mask[..., mask.shape[2] // 8 :] = self.halves[1]
        return with_mask(explanation, mask)


def clips(n=2):
    wav = torch.randn(n, N, generator=torch.Generator().manual_seed(0))
    return wav / wav.abs().amax(1, keepdim=True)


def scores_of(explainer, wav, lens=None):
    explanation = explainer.explain(wav, lens=lens)
    return DecodedCheck()(
        explained(explainer.domain, explainer.classifier, explanation)
    )


def test_the_scores_are_the_confidences_of_explain(classifier):
    explainer = Constant(classifier, 0.8, 0.1)
    wav = clips()
    scores = scores_of(explainer, wav)
    wanted = explain_batch(explainer, wav, ["a", "b", "c"])
    torch.testing.assert_close(scores[EXPLANATION], wanted.heard_confidence_in)
    torch.testing.assert_close(scores[REST], wanted.heard_confidence_out)
    assert not torch.allclose(scores[REST], wanted.confidence_out)  # of another level
    assert list(scores) == [
        s.name for s in DecodedCheck().scores(DOMAIN, GroundTruth())
    ]


def test_a_rest_of_any_level_is_classified_at_a_peak_of_one(classifier):
    wav = clips()
    explainer = Constant(classifier)  # the rest is the clip at a tenth of its level
    p = explainer.explain(wav).logits.double().softmax(1).amax(1)
    scores = scores_of(explainer, wav)
    torch.testing.assert_close(scores[REST], p, rtol=0, atol=1e-4)
    torch.testing.assert_close(scores[EXPLANATION], p, rtol=0, atol=1e-4)
    assert scores[SAME].tolist() == [100, 100]


def test_a_silent_part_is_undefined(classifier):
    scores = scores_of(Constant(classifier, 1.0, 1.0), clips())
    assert scores[REST].isnan().all() and scores[SAME].isnan().all()
    assert scores[EXPLANATION].isfinite().all()
    scores = scores_of(Constant(classifier, torch.nan, 1.0), clips())
    assert all(values.isnan().all() for values in scores.values())


def test_a_padded_clip_has_the_scores_that_it_has_alone(classifier):
    explainer = Constant(classifier, 0.8, 0.1)
    wav = clips()
    lens = torch.tensor([1.0, 0.5])
    padded = scores_of(explainer, wav, lens)
    alone = scores_of(explainer, wav[1:, : N // 2])
    for name, values in alone.items():
        torch.testing.assert_close(padded[name][1:], values, rtol=0, atol=1e-4)


def test_a_domain_without_audio_has_no_column(classifier):
    domain = MelDomain(RATE)
    assert DecodedCheck().scores(domain, GroundTruth()) == ()
    assert scores_of(Constant(classifier, domain=domain), clips()) == {}
