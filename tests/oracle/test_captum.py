"""The methods that go through captum answer what captum answers when asked directly."""

import copy

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn

from speechbrain_lmac.classifiers import CNN14Classifier, CompactClassifier
from speechbrain_lmac.domains.stft import MagnitudeSTFTDomain, MelDomain, STFTDomain
from speechbrain_lmac.explainers import (
    AttributionExplainer,
    GradCAM,
    GradientShap,
    GuidedBackprop,
    GuidedGradCAM,
    IntegratedGradients,
    Saliency,
    SmoothGrad,
)
from speechbrain_lmac.utils.seeding import clip_key, seed_of

RATE, N_MELS = 16000, 32
DOMAINS = [STFTDomain, MagnitudeSTFTDomain, MelDomain]
TARGET = torch.tensor([2, 0, 1])


def keep(attribution):
    """The rule that shows the attribution as it is."""
    return attribution


def with_statistics(model):
    """Batch norms as after a training: each channel has its own mean, scale, shift."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.02, 0.1)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return model.eval()


@pytest.fixture(scope="module")
def compact():
    torch.manual_seed(0)
    return with_statistics(CompactClassifier(3, N_MELS, channels=(6, 8, 10)))


@pytest.fixture(scope="module")
def cnn14():
    torch.manual_seed(0)
    return with_statistics(CNN14Classifier(3, N_MELS, emb_dim=8))


def noise(n_clips, n_samples=8000, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return 0.3 * torch.randn(n_clips, n_samples, generator=draw)


class FromRep(nn.Module):
    """Representation to logits, as the module that captum wants."""

    def __init__(self, domain, classifier):
        super().__init__()
        self.classifier = classifier
        self.features = lambda rep: domain.features(
            domain.encode(torch.zeros(1, 8000)).with_rep(rep)
        )

    def forward(self, rep):
        return self.classifier(self.features(rep)).logits


def ask_ours(method, domain, classifier, wav, background=None):
    explainer = AttributionExplainer(domain, classifier, method, background)
    return explainer.explain(wav, TARGET[: len(wav)]).mask


def assert_other(ours, theirs):
    """For every clip the maps differ by more than a tenth of their length."""
    ours, theirs = ours.flatten(1), theirs.flatten(1)
    assert ((ours - theirs).norm(dim=1) > 0.1 * theirs.norm(dim=1)).all()


def assert_same(ours, theirs):
    """Equal within the rounding of float32 at the scale of the map."""
    theirs = theirs.detach()
    scale = theirs.abs().max().item()
    assert scale > 0
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5 * scale)


@pytest.mark.parametrize("kind", DOMAINS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", ["compact", "cnn14"])
def test_saliency(kind, name, request):
    domain, classifier = kind(RATE, n_mels=N_MELS), request.getfixturevalue(name)
    wav = noise(3)
    oracle = captum.attr.Saliency(FromRep(domain, classifier))
    rep = domain.encode(wav).rep.requires_grad_()
    theirs = oracle.attribute(rep, TARGET, abs=False)
    assert theirs.min() < 0
    assert_same(ask_ours(Saliency(keep), domain, classifier, wav), theirs)


@pytest.mark.parametrize("kind", DOMAINS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("chunk", [1, 4, 7, 100])
def test_integrated_gradients(kind, chunk, compact):
    domain, wav = kind(RATE, n_mels=N_MELS), noise(3)
    oracle = captum.attr.IntegratedGradients(FromRep(domain, compact))
    rep = domain.encode(wav).rep
    theirs = oracle.attribute(rep, 0.0, TARGET, n_steps=7)
    ours = ask_ours(IntegratedGradients(7, chunk, keep), domain, compact, wav)
    assert_same(ours, theirs)


def test_integrated_gradients_add_up_to_the_change_of_the_logit(compact):
    domain, wav = STFTDomain(RATE, n_mels=N_MELS), noise(2)
    ours = ask_ours(IntegratedGradients(200, 50, keep), domain, compact, wav)
    rep = domain.encode(wav).rep
    with torch.no_grad():
        model = FromRep(domain, compact)
        change = (model(rep) - model(torch.zeros_like(rep))).gather(1, TARGET[:2, None])
    torch.testing.assert_close(ours.sum((1, 2)), change[:, 0], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("kind", DOMAINS, ids=lambda kind: kind.__name__)
def test_smoothgrad(kind, compact):
    domain, wav = kind(RATE, n_mels=N_MELS), noise(2)
    tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(FromRep(domain, compact)))
    ours = ask_ours(SmoothGrad(5, 0.15, 2, 7, keep), domain, compact, wav)
    for item in range(2):
        rep = domain.encode(wav).rep[item : item + 1]
        torch.manual_seed(seed_of("SmoothGrad", 7, clip_key(wav[item])))
        theirs = tunnel.attribute(
            rep,
            nt_samples=5,
            nt_samples_batch_size=2,
            stdevs=0.15 * (rep.max() - rep.min()).item(),
            target=TARGET[item].item(),
            abs=False,
        )
        assert_same(ours[item : item + 1], theirs)


@pytest.mark.parametrize("kind", DOMAINS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("chunk, chunks", [(8, [5]), (2, [2, 2, 1])])
def test_gradient_shap(kind, chunk, chunks, compact):
    domain, wav, background = kind(RATE, n_mels=N_MELS), noise(2), noise(4, seed=9)
    oracle = captum.attr.GradientShap(FromRep(domain, compact))
    method = GradientShap(5, chunk, 7, keep)
    ours = ask_ours(method, domain, compact, wav, lambda: background)
    for item in range(2):
        seed = seed_of("GradientShap", 7, clip_key(wav[item]))
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        parts = [
            oracle.attribute(
                domain.encode(wav).rep[item : item + 1],
                domain.encode(background).rep,
                n_samples=n_samples,
                target=TARGET[item].item(),
            )
            for n_samples in chunks
        ]
        theirs = sum(n * part for n, part in zip(chunks, parts, strict=True)) / 5
        assert_same(ours[item : item + 1], theirs)


@pytest.mark.parametrize("name", ["compact", "cnn14"])
def test_grad_cam(name, request):
    # In the mel domain a map is on the classifier's axes already.
    domain, classifier = MelDomain(RATE, n_mels=N_MELS), request.getfixturevalue(name)
    wav = noise(3, n_samples=95 * 186)  # 96 frames
    oracle = captum.attr.LayerGradCam(FromRep(domain, classifier), classifier.cam_layer)
    theirs = oracle.attribute(domain.encode(wav).rep, TARGET, relu_attributions=True)
    frames, bands = classifier.cam_stride
    ours = ask_ours(GradCAM(keep), domain, classifier, wav)
    assert (theirs > 0).any()
    assert_same(ours, between_centres(theirs[:, 0], (frames, bands), (96, N_MELS)))


def between_centres(maps, stride, size):
    """NumPy's linear interpolation between the middles of the steps, along each axis.

    A step of n inputs from place i n on has its middle at i n + (n - 1) / 2; beyond
    the first and the last middle the map is constant.
    """
    maps = maps.detach().numpy()
    for axis, (step, n) in enumerate(zip(stride, size, strict=True), start=1):
        middles = np.arange(maps.shape[axis]) * step + (step - 1) / 2
        maps = np.apply_along_axis(
            lambda row, middles=middles, n=n: np.interp(np.arange(n), middles, row),
            axis,
            maps,
        )
    return torch.from_numpy(maps).float()


# --- Guided backpropagation -----------------------------------------------------------


class ModularBlock(nn.Module):
    """A block of CNN14 whose ReLUs are modules, which captum's hooks find."""

    def __init__(self, block):
        super().__init__()
        self.convolutions = nn.Sequential(
            block.conv1,
            block.norm1,
            nn.ReLU(),
            block.conv2,
            block.norm2,
            nn.ReLU(),
        )

    def forward(self, maps, pool_size, pool_type):
        assert pool_type == "avg"
        return nn.functional.avg_pool2d(self.convolutions(maps), pool_size)


def modular(cnn14):
    """The same CNN14, with separate modules for its ReLUs."""
    twin = copy.deepcopy(cnn14)
    for place in range(1, 7):
        block = getattr(twin.embedding_model, f"conv_block{place}")
        setattr(twin.embedding_model, f"conv_block{place}", ModularBlock(block))
    return twin.eval()


@pytest.mark.parametrize("kind", DOMAINS, ids=lambda kind: kind.__name__)
@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_guided_backprop_on_the_functional_relus_of_cnn14(kind, cnn14):
    domain, wav, twin = kind(RATE, n_mels=N_MELS), noise(3), modular(cnn14)
    rep = domain.encode(wav).rep.requires_grad_()
    with torch.no_grad():
        ours, theirs = FromRep(domain, cnn14)(rep), FromRep(domain, twin)(rep)
        torch.testing.assert_close(ours, theirs)
    oracle = captum.attr.GuidedBackprop(FromRep(domain, twin))
    guided = ask_ours(GuidedBackprop(keep), domain, cnn14, wav)
    assert_same(guided, oracle.attribute(rep, TARGET))
    # captum on the network as it is gives the plain gradient; ours is not that.
    plain = ask_ours(Saliency(keep), domain, cnn14, wav)
    direct = captum.attr.GuidedBackprop(FromRep(domain, cnn14)).attribute(rep, TARGET)
    assert_same(plain, direct)
    assert_other(guided, plain)


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_guided_backprop_on_relus_that_are_modules(compact):
    domain, wav = STFTDomain(RATE, n_mels=N_MELS), noise(3)
    rep = domain.encode(wav).rep.requires_grad_()
    oracle = captum.attr.GuidedBackprop(FromRep(domain, compact))
    ours = ask_ours(GuidedBackprop(keep), domain, compact, wav)
    assert_same(ours, oracle.attribute(rep, TARGET))
    plain = ask_ours(Saliency(keep), domain, compact, wav)
    assert_other(ours, plain)


def test_guided_grad_cam_is_the_product_of_the_two(compact):
    domain, wav = STFTDomain(RATE, n_mels=N_MELS), noise(3)
    ours = ask_ours(GuidedGradCAM(keep), domain, compact, wav)
    guided = ask_ours(GuidedBackprop(keep), domain, compact, wav)
    cam = ask_ours(GradCAM(keep), domain, compact, wav)
    assert_same(ours, guided * cam)
