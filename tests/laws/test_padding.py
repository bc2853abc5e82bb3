"""Laws of padded batches: a clip has the logits that it has alone."""

import copy
import logging

import pytest
import speechbrain as sb
import torch

from speechbrain_lmac.classifiers import (
    Axes,
    Conv1dNet,
    Frozen,
    MiniClap,
    WaveformClassifier,
    WordBag,
)
from speechbrain_lmac.classifiers.batch_norm_folding import fold_batch_norms
from speechbrain_lmac.classifiers.clap.classifier import ClapClassifier
from speechbrain_lmac.classifiers.padding import classify, embed
from speechbrain_lmac.data.dataset import ClipBatch
from speechbrain_lmac.domains.codec import Codec
from speechbrain_lmac.domains.learned import LearnedDomain
from speechbrain_lmac.domains.stft import (
    MagnitudeSTFTDomain,
    MelDomain,
    STFTDomain,
    WaveformSTFTDomain,
)
from speechbrain_lmac.evidence import gather_evidence, training_evidence
from speechbrain_lmac.explainers import (
    AllOnesExplainer,
    AttributionExplainer,
    GradCAM,
    GradCAMPlusPlus,
    GuidedBackprop,
    IntegratedGradients,
)
from speechbrain_lmac.explainers.to_mask import absolute
from speechbrain_lmac.recipes.train_classifier import ClassifierBrain
from speechbrain_lmac.types import Explanation
from tests.small_models import N_MELS, small_cnn14, small_compact, with_statistics

RATE = 16000
HOP = 186
N_FRAMES = 101
# Shorter than the model's minimum, powers of two and neighbours, odd and even, all.
LENGTHS = torch.tensor([1, 16, 17, 31, 33, 47, 64, 101])
# Sums in another order, float64: thousands of terms of 1e-16 each.
ROUNDING = {"rtol": 1e-9, "atol": 1e-11}
# The same in float32, after an STFT and its inverse.
FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}
MODELS = {"compact": small_compact, "cnn14": small_cnn14}


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def compact():
    return small_compact()


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    """In float64, where equal is equal."""
    return MODELS[request.param]().double()


def filled(features, lengths, padding):
    """Features with a padding of noise or of a number behind the end of each clip."""
    behind = torch.arange(features.shape[1]) >= lengths[:, None]
    other = (
        random(*features.shape, seed=9).to(features)
        if padding == "noise"
        else torch.full_like(features, padding)
    )
    return torch.where(behind[:, :, None], other, features)


@pytest.fixture(scope="module")
def alone(model):
    """The outputs of clips of all `LENGTHS`, each by itself; with their features."""
    features = random(len(LENGTHS), N_FRAMES, N_MELS).double()
    with torch.no_grad():
        outputs = [
            model(features[i : i + 1, :n]) for i, n in enumerate(LENGTHS.tolist())
        ]
    return features, outputs


# --- Masks in the model ---------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("padding", [0.0, "noise", float("nan")])
def test_a_padded_clip_has_the_logits_and_maps_that_it_has_alone(model, alone, padding):
    features, expected = alone
    found = model(filled(features, LENGTHS, padding), LENGTHS)
    for item, output in enumerate(expected):
        torch.testing.assert_close(found.logits[item], output.logits[0], **ROUNDING)
        for maps, own in zip(found.hidden, output.hidden, strict=True):
            steps = own.shape[2]
            torch.testing.assert_close(maps[item, :, :steps], own[0], **ROUNDING)
            assert not maps[item, :, steps:].any()


@torch.no_grad()
def test_neighbours_and_the_length_of_the_batch_change_nothing(model, alone):
    features, expected = alone
    some = torch.tensor([5, 2, 4])
    for n_frames in (47, 64):
        logits = model(features[some, :n_frames], LENGTHS[some]).logits
        for item, place in enumerate(some.tolist()):
            own = expected[place].logits[0]
            torch.testing.assert_close(logits[item], own, **ROUNDING)


@torch.no_grad()
def test_full_lengths_give_what_none_give(model):
    features = random(2, N_FRAMES, N_MELS).double()
    none = model(features)
    full = model(features, torch.tensor([N_FRAMES, N_FRAMES]))
    torch.testing.assert_close(full.logits, none.logits, **ROUNDING)
    for one, other in zip(full.hidden, none.hidden, strict=True):
        torch.testing.assert_close(one, other, **ROUNDING)


def test_no_gradient_reaches_the_padding(model):
    features = random(3, 70, N_MELS).double().requires_grad_()
    lengths = torch.tensor([20, 33, 70])
    output = model(features, lengths)
    total = output.logits.sum() + sum(maps.sum() for maps in output.hidden)
    (gradient,) = torch.autograd.grad(total, features)
    for item, n in enumerate(lengths.tolist()):
        assert gradient[item, :n].any() and not gradient[item, n:].any()


@torch.no_grad()
def test_a_model_is_left_without_hooks(model):
    model(random(2, 40, N_MELS).double(), torch.tensor([3, 40]))
    for module in model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks


@torch.no_grad()
def test_folded_batch_norms_mask_as_well(model):
    model = copy.deepcopy(model)
    features, lengths = random(2, 70, N_MELS).double(), torch.tensor([33, 70])
    before = model(features, lengths)
    fold_batch_norms(model, features)
    after = model(filled(features, lengths, "noise"), lengths)
    torch.testing.assert_close(after.logits, before.logits, **ROUNDING)
    assert torch.nn.Identity in {type(module) for module in model.modules()}


def test_training_draws_and_norms_take_lengths(model):
    model = copy.deepcopy(model).train()
    lengths = torch.tensor([33, 70])
    logits = [
        model(filled(random(2, 70, N_MELS).double(), lengths, padding), lengths).logits
        for padding in (0.0, 1.0)
        if torch.manual_seed(3)
    ]
    assert torch.equal(*logits)


# --- Through the domains --------------------------------------------------------------

N_SAMPLES = 12000
RECORDED = (20 * HOP, 5000, 700, N_SAMPLES)
LENS = torch.tensor(RECORDED) / N_SAMPLES


def clips(padding=0.0):
    """Noise with such a padding behind the end of each clip, (B, N)."""
    wav = random(len(RECORDED), N_SAMPLES, seed=2) - 0.5
    return filled(wav[..., None], torch.tensor(RECORDED), padding)[..., 0]


def learned():
    codec = Codec(RATE, 32, 64)
    return LearnedDomain(STFTDomain(RATE, n_mels=N_MELS), codec).requires_grad_(False)


def waveform_model():
    """A user's module: it takes no lengths."""
    torch.manual_seed(0)
    net = with_statistics(Conv1dNet(3, [8, 8], [81, 9], [8, 4]))
    return Frozen(WaveformClassifier(net, 3, RATE, ["blocks.1"], Axes("BCT")))


DOMAINS = {
    "stft": STFTDomain(RATE, n_mels=N_MELS),
    "magnitude": MagnitudeSTFTDomain(RATE, n_mels=N_MELS),
    "mel": MelDomain(RATE, n_mels=N_MELS),
    "code": learned(),
    "waveform": WaveformSTFTDomain(RATE, n_mels=N_MELS),
}


@pytest.fixture(params=DOMAINS)
def front_end(request):
    """A domain and a classifier for it."""
    domain = DOMAINS[request.param]
    if request.param == "waveform":
        return domain, waveform_model()
    return domain, Frozen(request.getfixturevalue("compact"))


@torch.no_grad()
@pytest.mark.parametrize("padding", [0.0, "noise"])
def test_a_padded_clip_is_classified_as_it_is_alone(front_end, padding):
    domain, classifier = front_end
    wav = clips(padding)
    found = classify(domain, classifier, domain.encode(wav, LENS))
    for item, n in enumerate(RECORDED):
        own = classify(domain, classifier, domain.encode(wav[item : item + 1, :n]))
        torch.testing.assert_close(found.logits[item], own.logits[0], **FLOAT32)
    full = classify(domain, classifier, domain.encode(wav[3:]))
    for maps, own in zip(found.hidden, full.hidden, strict=True):
        assert maps.shape[2] == own.shape[2]  # the padded ones lie on the same steps


@torch.no_grad()
def test_a_mask_of_ones_changes_no_bit_of_a_padded_clip(front_end):
    domain, classifier = front_end
    if isinstance(domain, LearnedDomain):
        return  # there it shows the loss of the codec
    explanation = AllOnesExplainer(domain, classifier).explain(clips(), lens=LENS)
    evidence = gather_evidence(domain, classifier, explanation)
    assert torch.equal(evidence.logits_in, evidence.logits)


def test_both_kinds_of_evidence_agree_on_padded_parts(front_end):
    domain, classifier = front_end
    encoded = domain.encode(clips(), LENS)
    mask = random(*encoded.rep.shape).requires_grad_()
    logits = classify(domain, classifier, encoded).logits
    explanation = Explanation(mask, logits.argmax(1), encoded, logits)
    trained = training_evidence(domain, classifier, explanation)
    scored = gather_evidence(domain, classifier, explanation)
    for name in ("logits_in", "logits_out"):
        one, other = getattr(trained, name), getattr(scored, name)
        torch.testing.assert_close(one.detach(), other, **FLOAT32)
    trained.logits_in.sum().backward()
    for item, n_frames in enumerate(encoded.frames.tolist()):
        assert mask.grad[item, :n_frames].any()
        assert not mask.grad[item, n_frames + 1 :].any()


METHODS = {
    "IG": IntegratedGradients(2, 2, absolute),
    "GradCAM": GradCAM(absolute),
    "GradCAM++": GradCAMPlusPlus(absolute),
    "Guided Backprop": GuidedBackprop(absolute),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", ["stft", "mel"])
def test_the_attribution_of_a_padded_clip_is_that_of_the_clip_alone(
    name, kind, compact
):
    domain = DOMAINS[kind]
    explainer = AttributionExplainer(domain, Frozen(compact), METHODS[name])
    wav = clips()[[0, 3]]
    mask = explainer.explain(wav, lens=LENS[[0, 3]]).mask
    own = explainer.explain(wav[:1, : RECORDED[0]]).mask
    # The largest cell is 1; a gradient is a sum over all that a ReLU lets through.
    torch.testing.assert_close(mask[0, :21], own[0], rtol=1e-3, atol=1e-4)
    assert not mask[0, 21:].any()


@torch.no_grad()
def test_a_small_clap_masks_padding(compact):
    torch.manual_seed(0)
    tower = small_compact(8, channels=(6, 8))
    clap = MiniClap(8, tower, WordBag(8)).learn_words(["dog", "rain"], 1).eval()
    classifier, domain = ClapClassifier(clap, ["dog", "rain"]), DOMAINS["stft"]
    wav = clips("noise")
    found = embed(domain, classifier, domain.encode(wav, LENS)).embedding
    logits = classify(domain, classifier, domain.encode(wav, LENS)).logits
    for item, n in enumerate(RECORDED):
        encoded = domain.encode(wav[item : item + 1, :n])
        own = embed(domain, classifier, encoded).embedding
        torch.testing.assert_close(found[item], own[0], **FLOAT32)
        own = classify(domain, classifier, encoded).logits
        torch.testing.assert_close(logits[item], own[0], rtol=1e-3, atol=1e-4)


# --- Trainings ------------------------------------------------------------------------


def brain_of(domain, model):
    brain = ClassifierBrain(
        modules={"domain": domain, "model": model},
        hparams={"noise": None, "augment": None, "seed": 1, "labels": list("abc")},
        run_opts={"device": "cpu"},
    )
    brain.epoch = 1
    return brain


@torch.no_grad()
def test_a_training_of_a_classifier_masks_padding(compact, caplog):
    domain = DOMAINS["stft"]
    batch = ClipBatch(list("abcd"), clips("noise"), torch.zeros(4).long(), LENS)
    expected = classify(domain, compact, domain.encode(batch.wav, LENS)).logits
    for stage in (sb.Stage.TRAIN, sb.Stage.VALID):
        logits, _ = brain_of(domain, compact).compute_forward(batch, stage)
        assert torch.equal(logits, expected)
    assert "padding" not in caplog.text


@torch.no_grad()
def test_one_that_cannot_warns_and_is_validated_on_the_recordings(caplog):
    domain, model = DOMAINS["waveform"], waveform_model().model
    batch = ClipBatch(list("abcd"), clips(), torch.zeros(4).long(), LENS)
    expected = classify(domain, model, domain.encode(batch.wav, LENS)).logits
    brain = brain_of(domain, model)
    logits, _ = brain.compute_forward(batch, sb.Stage.VALID)
    assert torch.equal(logits, expected)
    with caplog.at_level(logging.WARNING):
        logits, _ = brain.compute_forward(batch, sb.Stage.TRAIN)
    padded = model(domain.features(domain.encode(batch.wav))).logits
    assert torch.equal(logits, padded) and not torch.equal(logits, expected)
    assert "WaveformClassifier" in caplog.text and "padding" in caplog.text
