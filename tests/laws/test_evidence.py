"""Laws of evidence, for any domain and classifier."""

import math
from dataclasses import replace

import pytest
import torch

from speechbrain_lmac.evidence import gather_evidence, training_evidence
from speechbrain_lmac.explainers.controls import AllOnesExplainer
from speechbrain_lmac.metrics import AD, AG, AI, ALL_METRICS, FF, FID_IN
from speechbrain_lmac.types import ClassifierOutput, Encoded, Explanation

FRAMES, BINS, CLASSES = 9, 6, 4


class Domain:
    """Frames of |wav|; the features are log(1 + |wav|), as in a real front end."""

    features_from_waveform = False

    def encode(self, wav, lens=None):
        rep = wav.abs().reshape(-1, FRAMES, BINS)
        return Encoded(rep, torch.ones_like(rep), wav.shape[1])

    def apply_mask(self, encoded, mask):
        return encoded.with_rep(encoded.rep * mask)

    def features(self, encoded):
        return torch.log1p(encoded.rep)


class Classifier(torch.nn.Module):
    """One frozen layer, which records the batch size of each pass."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(FRAMES * BINS, CLASSES).requires_grad_(False)
        self.passes = []

    def forward(self, features):
        self.passes.append(len(features))
        return ClassifierOutput(self.layer(features.flatten(1)), ())


@pytest.fixture
def classifier():
    return Classifier()


def explanation_of(wav, mask, classifier):
    encoded = Domain().encode(wav)
    logits = classifier(Domain().features(encoded)).logits
    classifier.passes.clear()
    return Explanation(mask, logits.argmax(1), encoded, logits)


def clips(n):
    return 3 * torch.randn(n, FRAMES * BINS, generator=torch.Generator().manual_seed(5))


def masks(n):
    return torch.rand(n, FRAMES, BINS, generator=torch.Generator().manual_seed(6))


@pytest.mark.parametrize("n", [1, 3])
def test_a_mask_of_ones_changes_nothing(classifier, n):
    wav = clips(n)
    explanation = AllOnesExplainer(Domain(), classifier).explain(wav)
    evidence = gather_evidence(Domain(), classifier, explanation)
    assert torch.equal(evidence.logits_in, evidence.logits)
    for metric in (AI, AD, AG):
        assert metric(evidence).tolist() == [0.0] * n
    assert FID_IN(evidence).tolist() == [1.0] * n
    silence = classifier(torch.zeros(n, FRAMES, BINS)).logits
    torch.testing.assert_close(evidence.logits_out, silence)


def test_a_mask_of_zeros_takes_nothing_out(classifier):
    explanation = explanation_of(clips(2), torch.zeros(2, FRAMES, BINS), classifier)
    evidence = gather_evidence(Domain(), classifier, explanation)
    assert torch.equal(evidence.logits_out, evidence.logits)
    assert FF(evidence).tolist() == [0.0, 0.0]


def test_logits_in_and_out_are_the_classifiers_of_both_parts(classifier):
    wav, mask = clips(3), masks(3)
    evidence = gather_evidence(
        Domain(), classifier, explanation_of(wav, mask, classifier)
    )
    rep = wav.abs().reshape(3, FRAMES, BINS)
    for logits, part in [
        (evidence.logits, rep),
        (evidence.logits_in, rep * mask),
        (evidence.logits_out, rep * (1 - mask)),
    ]:
        torch.testing.assert_close(logits, classifier(torch.log1p(part)).logits)


def test_two_passes_of_b_to_score_and_one_of_2b_to_train(classifier):
    explanation = explanation_of(clips(4), masks(4), classifier)
    gather_evidence(Domain(), classifier, explanation)
    assert classifier.passes == [4, 4]
    training_evidence(Domain(), classifier, explanation)
    assert classifier.passes == [4, 4, 8]


def test_scoring_and_training_agree(classifier):
    explanation = explanation_of(clips(3), masks(3), classifier)
    scored = gather_evidence(Domain(), classifier, explanation)
    trained = training_evidence(Domain(), classifier, explanation)
    assert trained.logits is explanation.logits
    assert torch.equal(trained.mask, scored.mask)
    assert torch.equal(trained.target, scored.target)
    for name in ("logits", "logits_in", "logits_out"):
        torch.testing.assert_close(getattr(trained, name), getattr(scored, name))


def test_only_training_has_a_gradient(classifier):
    mask = masks(2).requires_grad_()
    explanation = explanation_of(clips(2), mask, classifier)
    scored = gather_evidence(Domain(), classifier, explanation)
    tensors = (scored.mask, scored.logits, scored.logits_in, scored.logits_out)
    assert not any(tensor.requires_grad for tensor in tensors)
    trained = training_evidence(Domain(), classifier, explanation)
    for logits in (trained.logits_in, trained.logits_out):
        (gradient,) = torch.autograd.grad(logits.sum(), mask, retain_graph=True)
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize("metric", ALL_METRICS, ids=lambda metric: metric.name)
def test_a_score_does_not_depend_on_the_batch(classifier, metric):
    def scores(items):
        explanation = explanation_of(clips(5)[items], masks(5)[items], classifier)
        return metric(gather_evidence(Domain(), classifier, explanation))

    together = scores([0, 1, 2, 3, 4])
    uneven = torch.cat([scores([0, 1, 2]), scores([3, 4])])
    alone = torch.cat([scores([i]) for i in range(5)])
    torch.testing.assert_close(together, uneven, rtol=0, atol=1e-4)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("gather", [gather_evidence, training_evidence])
@pytest.mark.parametrize("shape", [(2, 8, 6), (2, 6, 9), (1, 9, 6), (9, 6)])
def test_a_mask_of_another_shape_raises(classifier, gather, shape):
    explanation = explanation_of(clips(2), masks(2), classifier)
    message = (
        f"mask must have the shape of the representation (2, 9, 6), got {tuple(shape)}"
    )
    with pytest.raises(ValueError) as error:
        gather(Domain(), classifier, replace(explanation, mask=torch.ones(shape)))
    assert str(error.value) == message


@pytest.mark.parametrize("gather", [gather_evidence, training_evidence])
@pytest.mark.parametrize(
    ("value", "found"), [(-0.25, "-0.25 to 0.5"), (1.5, "0.5 to 1.5")]
)
def test_values_outside_0_to_1_raise(classifier, gather, value, found):
    mask = torch.full((2, FRAMES, BINS), 0.5)
    mask[1, 2, 3] = value
    mask[0, 0, 0] = math.nan
    explanation = explanation_of(clips(2), mask, classifier)
    with pytest.raises(ValueError, match=f"^mask .*{found}$"):
        gather(Domain(), classifier, explanation)


def test_rounding_beyond_0_and_1_is_accepted(classifier):
    mask = torch.full((1, FRAMES, BINS), 1 + 5e-7)
    mask[0, 0] = -5e-7
    gather_evidence(Domain(), classifier, explanation_of(clips(1), mask, classifier))


def test_a_nan_in_a_mask_is_scored_as_nan_and_in_no_other_clip(classifier):
    mask = masks(3)
    mask[1, 2, 3] = math.nan
    explanation = explanation_of(clips(3), mask, classifier)
    evidence = gather_evidence(Domain(), classifier, explanation)
    for metric in ALL_METRICS:
        assert metric(evidence).isnan().tolist() == [False, True, False], metric.name
