"""What holds for every attribution method, on any domain and classifier."""

import copy

import numpy as np
import pytest
import torch

from speechbrain_lmac.classifiers import CNN14Classifier, CompactClassifier
from speechbrain_lmac.domains.stft import MagnitudeSTFTDomain, MelDomain, STFTDomain
from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.explainers import (
    AttributionExplainer,
    GradCAM,
    GradCAMPlusPlus,
    GradientShap,
    GuidedBackprop,
    GuidedGradCAM,
    IntegratedGradients,
    LayerCAM,
    Lime,
    Occlusion,
    Rise,
    Saliency,
    SmoothGrad,
)
from speechbrain_lmac.explainers.cam import layer_of
from speechbrain_lmac.explainers.to_mask import absolute, positive
from speechbrain_lmac.utils.errors import InputError

RATE, N_MELS = 16000, 32  # the fewest bands that CNN14 takes
METHODS = {
    "Saliency": Saliency(absolute),
    "SmoothGrad": SmoothGrad(3, 0.15, 2, 1, absolute),
    "IG": IntegratedGradients(5, 3, absolute),
    "GradCAM": GradCAM(positive),
    "GradCAM++": GradCAMPlusPlus(positive),
    "Guided GradCAM": GuidedGradCAM(absolute),
    "Guided Backprop": GuidedBackprop(absolute),
    "SHAP": GradientShap(3, 2, 1, absolute),
    "LayerCAM, block 2": LayerCAM(positive, layer=2),
    "Occlusion": Occlusion((24, 16), 4, absolute),
    "LIME": Lime((24, 16), 6, 4, 1, absolute),
    "RISE": Rise((24, 16), 6, 0.5, 4, 1, absolute),
}
# Of the classifier these see what the small one shows, too.
NO_CNN14 = ("LayerCAM, block 2", "Occlusion", "LIME", "RISE")
DOMAINS = [STFTDomain, MagnitudeSTFTDomain, MelDomain]
# A mask depends on its largest cell, the rounding of which moves every other.
BATCH_TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}


class ThroughTheWaveform(STFTDomain):
    """The classifier's input is the decoded waveform, which needs the phase."""

    def features(self, encoded):
        return super().features(self.encode(self.decode(encoded)))


def with_statistics(model):
    """Batch norms as after a training: each channel has its own mean and scale."""
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.02, 0.1)
    return model.eval()


@pytest.fixture(scope="module")
def compact():
    torch.manual_seed(0)
    model = with_statistics(CompactClassifier(3, N_MELS, channels=(6, 8, 10)))
    with torch.no_grad():
        model.linear.weight += 0.2  # some channel speaks for each class
    return model


@pytest.fixture(scope="module")
def cnn14():
    torch.manual_seed(0)
    return with_statistics(CNN14Classifier(3, N_MELS, emb_dim=8))


def noise(n_clips, n_samples=8000, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return 0.3 * torch.randn(n_clips, n_samples, generator=draw)


def explainer_of(name, domain, classifier):
    return AttributionExplainer(
        domain, classifier, METHODS[name], lambda: noise(4, seed=9)
    )


@pytest.fixture(params=METHODS)
def name(request):
    return request.param


@pytest.fixture(params=[*DOMAINS, ThroughTheWaveform], ids=lambda kind: kind.__name__)
def domain(request):
    return request.param(RATE, n_mels=N_MELS)


@pytest.fixture
def stft():
    return STFTDomain(RATE, n_mels=N_MELS)


def test_a_clip_has_its_explanation_in_any_batch(name, domain, compact):
    explainer = explainer_of(name, domain, compact)
    wav = noise(3)
    wav[1] *= 20
    target = torch.tensor([0, 1, 2])
    whole = explainer.explain(wav, target)
    assert whole.mask.shape == whole.encoded.rep.shape
    assert (whole.mask >= 0).all()
    assert (whole.mask.amax((1, 2)) == 1).all()
    for parts in ([[0], [1], [2]], [[2, 0], [1]]):
        for items in parts:
            part = explainer.explain(wav[items], target[items])
            torch.testing.assert_close(part.mask, whole.mask[items], **BATCH_TOLERANCE)


@pytest.mark.parametrize("name", [n for n in METHODS if n not in NO_CNN14])
def test_a_clip_has_its_explanation_in_any_batch_of_cnn14(name, stft, cnn14):
    explainer = explainer_of(name, stft, cnn14)
    wav, target = noise(3), torch.tensor([0, 1, 2])
    whole = explainer.explain(wav, target).mask
    alone = [explainer.explain(wav[i : i + 1], target[i : i + 1]) for i in range(3)]
    alone = torch.cat([explanation.mask for explanation in alone])
    torch.testing.assert_close(alone, whole, **BATCH_TOLERANCE)


def test_the_same_again_and_nothing_is_left_behind(name, stft, compact):
    model = copy.deepcopy(compact)
    for place, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(place % 2 == 0)
    flags = [parameter.requires_grad for parameter in model.parameters()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    wav = noise(2)
    given = wav.clone()
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(3)
    np.random.seed(3)

    explainer = explainer_of(name, stft, model)
    first = explainer.explain(wav)
    drawn = torch.rand(1), np.random.rand()
    second = explainer.explain(wav)

    assert torch.equal(first.mask, second.mask)
    assert drawn == expected, "the global generators moved"
    assert torch.equal(wav, given)
    after = model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in state.items())
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
    assert all(parameter.grad is None for parameter in model.parameters())
    hooks = [(m._forward_hooks, m._backward_hooks) for m in model.modules()]
    assert not any(any(pair) for pair in hooks)
    assert not any(module.training for module in model.modules())
    assert not any(
        tensor.requires_grad for tensor in (first.mask, first.logits, first.encoded.rep)
    )


def test_the_predicted_class_is_explained_unless_another_is_given(name, stft, compact):
    explainer = explainer_of(name, stft, compact)
    wav = noise(2)
    predicted = explainer.explain(wav)
    with torch.no_grad():
        logits = compact(stft.features(stft.encode(wav))).logits
    assert torch.equal(predicted.target, logits.argmax(1))
    assert torch.equal(predicted.logits, logits)
    assert torch.equal(predicted.mask, explainer.explain(wav, logits.argmax(1)).mask)
    other = explainer.explain(wav, (logits.argmax(1) + 1) % 3)
    assert not torch.allclose(other.mask, predicted.mask, atol=0.01)


def test_explaining_needs_no_gradient_of_the_caller(name, stft, compact):
    explainer = explainer_of(name, stft, compact)
    expected = explainer.explain(noise(1)).mask
    with torch.no_grad():
        assert torch.equal(explainer.explain(noise(1)).mask, expected)
        assert not torch.is_grad_enabled()


@pytest.mark.parametrize("n_samples", [1, 186, 5001])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_silence_and_short_and_odd_clips(name, domain, compact, n_samples, level):
    explainer = explainer_of(name, domain, compact)
    explanation = explainer.explain(level * noise(2, n_samples))
    assert explanation.mask.shape == explanation.encoded.rep.shape
    # In 0..1 or NaN, as `gather_evidence` checks; here there is no reason for a NaN.
    evidence = gather_evidence(domain, compact, explanation)
    assert torch.isfinite(evidence.mask).all()


@pytest.mark.parametrize("name", [n for n in METHODS if n not in NO_CNN14])
@pytest.mark.parametrize("n_samples", [1, 9000])
def test_silence_and_short_clips_of_cnn14(name, stft, cnn14, n_samples):
    explainer = explainer_of(name, stft, cnn14)
    wav = noise(2, n_samples)
    wav[1] = 0
    explanation = explainer.explain(wav)
    assert explanation.mask.shape == explanation.encoded.rep.shape
    assert torch.isfinite(explanation.mask).all()


@pytest.mark.parametrize("name", ["SmoothGrad", "SHAP", "LIME", "RISE"])
def test_draws_depend_on_the_seed_and_on_the_clip(name, stft, compact):
    # Of two clips in one batch, neither takes the draws of the other.
    method = METHODS[name]
    wav = noise(1)
    reseeded = copy.copy(method)
    reseeded.seed = 2
    masks = [
        AttributionExplainer(stft, compact, m, lambda: noise(4, seed=9)).explain(wav)
        for m in (method, reseeded)
    ]
    assert not torch.allclose(masks[0].mask, masks[1].mask, atol=0.01)


# --- Class activation maps ------------------------------------------------------------


@pytest.mark.parametrize("method", ["GradCAM", "GradCAM++", "LayerCAM, block 2"])
def test_the_map_on_the_stft_is_the_map_on_the_bands_at_their_frequencies(
    method, compact
):
    # The classifier hears the same in both domains.
    maps = {}
    for kind in (STFTDomain, MelDomain):
        domain = kind(RATE, n_mels=N_MELS)
        maps[kind] = explainer_of(method, domain, compact).explain(noise(2)).mask
    read = STFTDomain(RATE, n_mels=N_MELS).from_bands(maps[MelDomain])
    read = read / read.amax((1, 2), keepdim=True)
    torch.testing.assert_close(maps[STFTDomain], read, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("classifier", ["compact", "cnn14"])
def test_an_event_stands_in_the_map_at_its_time(classifier, request):
    """A map of 15 steps of 32 frames that was stretched to 500 is 13 frames late.

    With positive weights of the last layer every channel speaks for every class, so
    that the map changes where the last block's output does; kernels that are symmetric
    in time move nothing themselves.
    """
    model = copy.deepcopy(request.getfixturevalue(classifier))
    last = model.linear if classifier == "compact" else model.classifier
    with torch.no_grad():
        last.weight.abs_()
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight += module.weight.flip(2)
    stride, n_frames = model.cam_stride[0], 500
    # An event in silence, at eight places within a step.
    events = torch.arange(304, 304 + stride, stride // 8)
    silence = torch.zeros(1, (n_frames - 1) * 186)
    clips = silence.repeat(len(events), 1)
    for item, event in enumerate(events):
        clips[item, event * 186] = 1.0
    domain = MelDomain(RATE, n_mels=N_MELS)
    explainer = AttributionExplainer(domain, model, GradCAM(lambda cam: cam))
    before = explainer.explain(silence, torch.tensor([0])).mask
    after = explainer.explain(clips, torch.zeros(len(events)).long()).mask
    assert after.shape == (len(events), n_frames, N_MELS)
    moved = (after - before).abs().sum(2)
    centre = (moved * torch.arange(n_frames)).sum(1) / moved.sum(1)
    error = centre - events
    assert error.abs().max() <= stride / 2
    assert error.mean().abs() <= 2


@pytest.mark.parametrize("classifier", ["compact", "cnn14"])
def test_cam_stride_is_that_of_the_map(classifier, request):
    model = request.getfixturevalue(classifier)
    n_blocks = len(model.cam_blocks)
    features = torch.rand(1, 8 * model.cam_stride[0], N_MELS)
    for number in (None, *range(1, n_blocks + 1)):
        layer, (frames, bands) = layer_of(model, number)
        maps = []
        hook = layer.register_forward_hook(lambda m, i, o: maps.append(o))  # noqa: B023
        with torch.no_grad():
            model(features)
        hook.remove()
        steps = features.shape[1] // frames, N_MELS // bands
        assert maps[0].shape[2:] == steps, number
    assert layer_of(model, n_blocks) == (model.cam_layer, model.cam_stride)
    for number in (0, n_blocks + 1):
        with pytest.raises(InputError, match=rf"layer.*{n_blocks}.*got {number}"):
            layer_of(model, number)


@pytest.mark.parametrize("kind", [GradCAM, GradCAMPlusPlus, GuidedGradCAM])
def test_the_last_block_is_the_default_of_class_activation_maps(kind, stft, compact):
    default, last, first = (
        AttributionExplainer(stft, compact, kind(positive, layer=layer))
        for layer in (None, 3, 1)
    )
    wav = noise(1)
    mask = default.explain(wav).mask
    assert torch.equal(mask, last.explain(wav).mask)
    assert not torch.allclose(mask, first.explain(wav).mask, atol=0.05)
    # Rows of finished tables stay valid.
    assert "layer" not in vars(default.method) and vars(last.method)["layer"] == 3
