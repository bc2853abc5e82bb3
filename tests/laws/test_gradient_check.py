"""A classifier that no gradient passes through is refused, by name and cause."""

import pytest
import torch

from speechbrain_lmac.classifiers import Axes, Frozen, WaveformClassifier
from speechbrain_lmac.domains.stft import STFTDomain, WaveformSTFTDomain
from speechbrain_lmac.explainers import AttributionExplainer, GradCAM, Saliency
from speechbrain_lmac.explainers.gradient_check import (
    N_CLIPS,
    check_gradient,
    check_gradient_once,
)
from speechbrain_lmac.explainers.to_mask import absolute
from speechbrain_lmac.types import ClassifierOutput
from speechbrain_lmac.utils.errors import InputError

RATE = 16000
FAULTS = {
    "no_grad": "no gradient.* Net: .*no_grad",
    "inference": "no gradient.* Net: .*no_grad",
    "detached": "no gradient.* Net: ",
    "numpy": r"no gradient.* Net \(Can't call numpy",
    "root": "Net is NaN.* on digital silence",
    "norm_of_zeros": "Net is NaN.* on digital silence",
    "nan": "Net is NaN.* on digital silence",
    "rounded": "Net is 0 everywhere",
    "constant": "Net is 0 everywhere",
}


class Net(torch.nn.Module):
    """A convolution over the waveform, with a fault of the kind that users have."""

    def __init__(self, fault=None):
        super().__init__()
        torch.manual_seed(0)
        self.fault = fault
        self.conv = torch.nn.Conv1d(1, 4, 64, stride=32)
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, wav):
        if self.fault == "no_grad":
            with torch.no_grad():
                return self.logits(wav)
        if self.fault == "inference":
            with torch.inference_mode():
                return self.logits(wav)
        return self.logits(wav)

    def logits(self, wav):
        if self.fault == "detached":
            wav = wav.detach()
        if self.fault == "numpy":
            wav = torch.from_numpy(wav.numpy().copy())
        if self.fault == "root":
            wav = wav.square().sqrt()
        if self.fault == "norm_of_zeros":
            frames = wav[:, : len(wav[0]) // 8 * 8].unflatten(1, (-1, 8))
            wav = frames.square().sum(2).sqrt()
        if self.fault == "nan":
            wav = wav / wav.abs().amax(1, keepdim=True)
        if self.fault == "rounded":
            wav = (wav * 4).round()
        maps = self.conv(wav[:, None]).relu()
        logits = self.linear(maps.mean(2))
        return 0 * logits if self.fault == "constant" else logits


def classifier(fault=None):
    layout = Axes("BCT")
    return Frozen(WaveformClassifier(Net(fault), 3, RATE, ["conv"], layout))


@pytest.fixture
def wav():
    return torch.randn(2, RATE // 4, generator=torch.Generator().manual_seed(1)) / 5


@pytest.fixture
def domain():
    return WaveformSTFTDomain(RATE)


def test_a_healthy_classifier_passes_unchanged(domain, wav):
    frozen = classifier()
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    check_gradient(domain, frozen, wav)
    assert all(torch.equal(before[n], v) for n, v in frozen.state_dict().items())
    assert all(parameter.grad is None for parameter in frozen.parameters())


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named(domain, wav, fault):
    with pytest.raises(InputError, match=FAULTS[fault]):
        check_gradient(domain, classifier(fault), wav)


def test_a_silent_first_batch_is_no_fault(domain):
    check_gradient(domain, classifier(), torch.zeros(2, RATE // 4))


def test_a_silent_first_batch_leaves_the_check_to_the_next(domain, wav):
    silence, rounded = torch.zeros(2, RATE // 4), classifier("rounded")
    check_gradient_once(domain, rounded, silence)
    with pytest.raises(InputError, match="0 everywhere"):
        check_gradient_once(domain, rounded, wav)
    dead = classifier("detached")
    with pytest.raises(InputError, match="no gradient.* Net"):
        check_gradient_once(domain, dead, silence)


def test_clips_with_sound_are_checked_after_silent_ones(domain, wav):
    batch = torch.cat([torch.zeros(N_CLIPS, RATE // 4), wav])
    with pytest.raises(InputError, match="0 everywhere"):
        check_gradient(domain, classifier("rounded"), batch)


def test_a_clip_without_a_finite_gradient_is_named_by_its_place(domain, wav):
    class Loud(Net):
        def logits(self, wav):
            loud = (wav.abs() > 5).any(1, keepdim=True)
            return super().logits(wav) * torch.where(loud, torch.inf, 1.0)

    loud = Frozen(WaveformClassifier(Loud(), 3, RATE, ["conv"], Axes("BCT")))
    silence = torch.zeros(1, RATE // 4)
    with pytest.raises(InputError, match="NaN.* on clips 2 of the batch"):
        check_gradient(domain, loud, torch.cat([silence, wav[:1], 40 * wav[1:]]))


class Fails(torch.autograd.Function):
    """A function whose gradient raises an error."""

    @staticmethod
    def forward(ctx, values, error):
        ctx.error = error
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise ctx.error


@pytest.mark.parametrize(
    "error, raised, message",
    [
        (torch.cuda.OutOfMemoryError("full"), torch.cuda.OutOfMemoryError, "^full$"),
        (
            RuntimeError("cudnn RNN backward can only be called in training mode"),
            InputError,
            "recurrent layers of Net on a GPU: .* --device cpu",
        ),
    ],
)
def test_what_the_gpu_cannot_do_is_no_fault_of_the_forward(
    domain, wav, monkeypatch, error, raised, message
):
    whole = Net.logits
    monkeypatch.setattr(Net, "logits", lambda s, x: Fails.apply(whole(s, x), error))
    with pytest.raises(raised, match=message):
        check_gradient(domain, classifier(), wav)


def test_another_fault_of_the_model_stays_what_it_is(domain, wav, monkeypatch):
    def broken(self, wav):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Net, "logits", broken)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        check_gradient(domain, classifier(), wav)


class Mels(torch.nn.Module):
    """A classifier of features with a layer for class activation maps."""

    n_classes = 3
    cam_stride = (1, 1)

    def __init__(self, detached):
        super().__init__()
        self.detached = detached
        self.conv = torch.nn.Conv2d(1, 3, 3, padding=1)

    @property
    def cam_layer(self):
        return self.conv

    def forward(self, features):
        features = features.detach() if self.detached else features
        maps = self.conv(features[:, None])
        return ClassifierOutput(maps.mean((2, 3)), (maps,))


class Quiet(Mels):
    """Its units are on for silence, and off for anything loud."""

    def forward(self, features):
        maps = (0.1 - features[:, None].expand(-1, 3, -1, -1)).relu()
        return ClassifierOutput(maps.mean((2, 3)), (maps,))


def test_units_that_are_all_off_on_a_clip_are_no_fault(wav):
    domain, frozen = STFTDomain(RATE), Frozen(Quiet(False))
    encoded = domain.encode(10 * wav)
    assert not frozen(domain.features(encoded)).logits.any()
    check_gradient(domain, frozen, 10 * wav)


@pytest.mark.parametrize("method", [Saliency, GradCAM])
def test_gradient_baselines_check_the_same(wav, method):
    pytest.importorskip("captum")
    domain, to_mask = STFTDomain(RATE), absolute
    healthy = AttributionExplainer(domain, Frozen(Mels(False)), method(to_mask))
    assert healthy.explain(wav).mask.any()
    dead = AttributionExplainer(domain, Frozen(Mels(True)), method(to_mask))
    with pytest.raises(InputError, match="no gradient.* Mels"):
        dead.explain(wav)
