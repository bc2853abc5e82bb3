"""Attribution methods on models of a few weights, and their errors."""

import functools
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from speechbrain_lmac.explainers import (
    AttributionExplainer,
    Baselines,
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
from speechbrain_lmac.explainers.cam import plus_plus, upsample
from speechbrain_lmac.explainers.guided_backprop import GuidedReLUs
from speechbrain_lmac.explainers.to_mask import absolute
from speechbrain_lmac.types import ClassifierOutput, Encoded
from speechbrain_lmac.utils.errors import InputError


def keep(attribution):
    """The rule that shows the attribution as it is."""
    return attribution


class Domain:
    """One bin; the samples are the frames and the classifier's input."""

    n_mels = 1

    def encode(self, wav, lens=None):
        return Encoded(wav[:, :, None], None, wav.shape[1])

    def features(self, encoded):
        return encoded.rep

    def from_bands(self, maps):
        return maps


class Classifier(nn.Module):
    """Any network from (B, T, 1) to logits, with an optional layer for maps."""

    cam_stride = (1, 1)

    def __init__(self, network, cam_layer=None):
        super().__init__()
        self.network = network
        self.cam_layer = cam_layer

    def forward(self, features):
        return ClassifierOutput(self.network(features), ())


def attribute(method, classifier, wav, target=(0,), background=None):
    """The attribution of frames, (B, T)."""
    explainer = AttributionExplainer(Domain(), classifier, method, background)
    return explainer.explain(torch.tensor(wav), torch.tensor(target)).mask[:, :, 0]


# --- Gradients on paper ---------------------------------------------------------------


def square(features):
    """One logit: the sum of x^2."""
    return features.square().sum((1, 2))[:, None]


def test_the_gradient_of_a_square():
    assert attribute(Saliency(keep), Classifier(square), [[3.0, 1.0]]).tolist() == [
        [6.0, 2.0]
    ]


def test_integrated_gradients_of_a_square():
    # x times the mean of 2 alpha x over alpha: x^2. The quadrature is exact for it.
    method = IntegratedGradients(2, 1, keep)
    attribution = attribute(method, Classifier(square), [[3.0, 1.0]])
    torch.testing.assert_close(attribution, torch.tensor([[9.0, 1.0]]))


def test_gradient_shap_of_a_linear_score():
    # (x - b) * weight on any path; b = 1 and b = 2 in a background of equal clips.
    classifier = Classifier(
        lambda f: (f[:, :, 0] * torch.tensor([2.0, -1.0])).sum(1)[:, None]
    )
    method = GradientShap(4, 3, 1, keep)
    background = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    attribution = attribute(
        method, classifier, [[3.0, 1.0]], background=lambda: background
    )
    torch.testing.assert_close(attribution, torch.tensor([[4.0, 1.0]]))


@pytest.mark.parametrize("length", [1, 2, 5])
def test_background_clips_get_the_length_of_the_clip(length):
    classifier = Classifier(lambda f: f.sum((1, 2))[:, None])
    background = torch.arange(1.0, length + 1)[None]
    method, wav = GradientShap(2, 2, 1, keep), [[9.0, 9.0, 9.0]]
    attribution = attribute(method, classifier, wav, background=lambda: background)
    expected = [9 - value if value <= length else 9 for value in (1.0, 2.0, 3.0)]
    assert attribution.tolist() == [expected]


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_smoothgrad_of_a_square_spreads_as_the_range_says(noise):
    # The mean gradient is 2 (x + mean of n draws), of deviation 2 sigma / sqrt(n).
    n, wav = 400, torch.zeros(200)
    wav[0] = 5.0  # the clip's range
    method = SmoothGrad(n, noise, 100, 1, keep)
    error = attribute(method, Classifier(square), wav[None].tolist())[0] / 2 - wav
    sigma = error.std().item() * n**0.5
    assert sigma == pytest.approx(noise * 5, rel=0.2, abs=1e-6)


# --- Class activation maps on paper ---------------------------------------------------


class TwoChannels(nn.Module):
    """A_1 = x and A_2 = 2 x; the score has a weight for each place of each channel."""

    def forward(self, features):
        maps = features[:, None]
        return torch.cat([maps, 2 * maps], 1)


def two_channels():
    layer = TwoChannels()
    weights = torch.tensor([[0.5, -1.0], [0.25, 0.5]])
    score = lambda f: (layer(f)[..., 0] * weights).sum((1, 2))[:, None]  # noqa: E731
    return Classifier(score, layer)


def test_layer_cam_by_hand():
    # ReLU of the gradients: 0.5 and 0 of the first channel, 0.25 and 0.5 of the second.
    # x = 1: 0.5 * 1 + 0.25 * 2 = 1; x = 3: 0.5 * 6 = 3; x = -2: -2, cut to 0.
    attribution = attribute(
        LayerCAM(keep), two_channels(), [[1.0, 3.0], [1.0, -2.0]], (0, 0)
    )
    torch.testing.assert_close(attribution, torch.tensor([[1.0, 3.0], [1.0, 0.0]]))


def linear(features):
    """Two logits: 2 x_0 - x_1 + 3 x_3, and 0."""
    weights = torch.tensor([2.0, -1.0, 0.0, 3.0])
    score = (features[:, :, 0] * weights).sum(1)
    return torch.stack([score, torch.zeros_like(score)], 1)


CLIP = [[1.0, 4.0, 5.0, 1.0]]  # contributions 2, -4, 0, 3


def test_occlusion_of_a_linear_score():
    # Single frames: the contributions. Pairs by one: -2, -4, 3 of (0, 1), (1, 2),
    # (2, 3), and each frame has the mean of its pairs.
    alone = attribute(Occlusion((1, 1), 3, keep), Classifier(linear), CLIP)
    torch.testing.assert_close(alone, torch.tensor([[2.0, -4.0, 0.0, 3.0]]))
    pairs = attribute(Occlusion((2, 1), 2, keep), Classifier(linear), CLIP)
    torch.testing.assert_close(pairs, torch.tensor([[-2.0, -3.0, -0.5, 3.0]]))
    # A patch that is longer than the clip is the clip.
    whole = attribute(Occlusion((9, 9), 2, keep), Classifier(linear), CLIP)
    torch.testing.assert_close(whole, torch.ones(1, 4))


def test_lime_of_a_linear_score():
    # The patches' contributions, -2 and 3, but for the ridge.
    method = Lime((2, 1), 400, 100, 1, keep)
    attribution = attribute(method, Classifier(linear), CLIP)[0]
    torch.testing.assert_close(attribution[::2], attribution[1::2])
    expected = torch.tensor([-2.0, 3.0])
    torch.testing.assert_close(attribution[::2], expected, rtol=0.06, atol=0)


def test_rise_ranks_the_frames_of_a_linear_score():
    # Frame 2 has no effect, frame 1 is against the class.
    method = Rise((1, 1), 2000, 0.5, 500, 1, keep)
    attribution = attribute(method, Classifier(linear), CLIP)[0]
    assert attribution.argsort().tolist() == [1, 2, 0, 3]
    assert attribution[1] < 0 < attribution[0]
    # Without a shift and with a patch of one frame, M is 0 or 1 and this is the
    # covariance by the share: p is a function of all coins, enumerated here.
    coins = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4)
    p = linear((coins * torch.tensor(CLIP))[:, :, None]).softmax(1)[:, 0]
    expected = ((p - p.mean())[:, None] * coins).mean(0) / 0.5
    torch.testing.assert_close(attribution, expected, rtol=0, atol=0.03)
    # The draws do not depend on how many masks are evaluated at once.
    again = attribute(Rise((1, 1), 2000, 0.5, 7, 1, keep), Classifier(linear), CLIP)[0]
    torch.testing.assert_close(again, attribution, rtol=1e-4, atol=1e-6)


def test_grad_cam_by_hand():
    # Weights: means of the gradients, -0.25 and 0.375. x = 1: -0.25 * 1 + 0.375 * 2
    # = 0.5; x = 3: -0.25 * 3 + 0.375 * 6 = 1.5; x = -2: -1, cut to 0.
    attribution = attribute(
        GradCAM(keep), two_channels(), [[1.0, 3.0], [1.0, -2.0]], (0, 0)
    )
    torch.testing.assert_close(attribution, torch.tensor([[0.5, 1.5], [0.5, 0.0]]))


def test_grad_cam_plus_plus_by_hand():
    # x = (1, 3): A_1 = (1, 3), of sum 4; A_2 = (2, 6), of sum 8.
    # alpha = 1 / (2 + g sum) where g > 0.
    #   channel 1: g = 0.5: alpha = 1/4; g = -1: no weight. w_1 = 0.5 / 4 = 0.125
    #   channel 2: g = 0.25: alpha = 1/4; g = 0.5: alpha = 1/6.
    #              w_2 = 0.25 / 4 + 0.5 / 6 = 0.0625 + 0.083333 = 0.145833
    #   map: 0.125 * 1 + 0.145833 * 2 = 0.416667; 0.125 * 3 + 0.145833 * 6 = 1.25
    attribution = attribute(GradCAMPlusPlus(keep), two_channels(), [[1.0, 3.0]])
    torch.testing.assert_close(attribution, torch.tensor([[5 / 12, 1.25]]))


def test_grad_cam_plus_plus_is_the_papers_formula_on_the_exponential():
    # Its derivatives of Y = exp(S), taken by autograd, S being linear.
    draw = torch.Generator().manual_seed(0)
    maps = torch.rand(1, 3, 2, 2, generator=draw, dtype=torch.float64).requires_grad_()
    slope = torch.randn(1, 3, 2, 2, generator=draw, dtype=torch.float64)
    y = (maps * slope).sum().exp()
    derivatives = [y]
    for _ in range(3):  # each element by itself: the diagonal of the derivative
        derivatives.append(diagonal(derivatives[-1], maps))
    _, first, second, third = derivatives
    alpha = second / (2 * second + maps.sum((2, 3), keepdim=True) * third)
    weights = (alpha * first.clamp(min=0)).sum((2, 3), keepdim=True)
    expected = (weights * maps).sum(1).clamp(min=0)
    torch.testing.assert_close(plus_plus(maps, slope) * y, expected)


def diagonal(value, maps):
    """d value_ij / d maps_ij of each element, or d value / d maps_ij of a number."""
    if value.dim() == 0:
        return torch.autograd.grad(value, maps, create_graph=True)[0]
    parts = [
        torch.autograd.grad(one, maps, create_graph=True)[0].flatten()[place]
        for place, one in enumerate(value.flatten())
    ]
    return torch.stack(parts).view_as(maps)


def test_grad_cam_plus_plus_does_not_divide_by_zero():
    # Activations may be negative where the layer has no ReLU: 2 + 0.5 * -4 = 0.
    maps = torch.tensor([[[[-4.0]], [[1.0]]]])
    attribution = plus_plus(maps, torch.tensor([[[[0.5]], [[1.0]]]]))
    torch.testing.assert_close(attribution, torch.tensor([[[1 / 3]]]))


def test_maps_keep_their_place_and_are_cropped_or_continued():
    maps = torch.tensor([[[0.0, 4.0]]])
    # Two bands of a step: centres at 0.5 and 2.5.
    expected = [0.0, 1.0, 3.0, 4.0, 4.0, 4.0]
    for n_bands in (1, 3, 4, 6):
        attribution = upsample(maps, (1, 2), (1, n_bands))
        assert attribution[0, 0].tolist() == expected[:n_bands]
    assert upsample(maps, (3, 2), (2, 4)).tolist() == [[expected[:4]] * 2]


# --- Guided backpropagation -----------------------------------------------------------


RELUS = {
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "F.relu": F.relu,
    "F.relu in place": functools.partial(F.relu, inplace=True),
    "F.relu_": F.relu_,
    "Tensor.relu": torch.Tensor.relu,
    "Tensor.relu_": torch.Tensor.relu_,
    "nn.ReLU": nn.ReLU(),
    "nn.ReLU in place": nn.ReLU(inplace=True),
}


@pytest.mark.parametrize("relu", RELUS.values(), ids=RELUS)
def test_a_guided_relu_by_hand(relu):
    # Behind the ReLU the gradients are 2, -3, 5. Before it: 2 passes; -3 is negative;
    # 5 meets a silent ReLU. The input is what the layer before makes of it, 10 x.
    behind = torch.tensor([2.0, -3.0, 5.0])
    classifier = Classifier(lambda f: (relu(10 * f[..., 0]) * behind).sum(1)[:, None])
    attribution = attribute(GuidedBackprop(keep), classifier, [[1.0, 1.0, -1.0]])
    assert attribution.tolist() == [[20.0, 0.0, 0.0]]


@pytest.mark.parametrize("name", ["torch.relu_", "F.relu in place", "Tensor.relu_"])
def test_a_relu_in_place_changes_its_input_also_when_guided(name):
    def network(features):
        maps = 10 * features[..., 0]
        RELUS[name](maps)  # what it returns is not taken
        return maps.sum(1)[:, None]

    attribution = attribute(GuidedBackprop(keep), Classifier(network), [[1.0, -1.0]])
    assert attribution.tolist() == [[10.0, 0.0]]


def test_logits_do_not_change_while_relus_are_guided():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    inputs = torch.randn(5, 4, requires_grad=True)
    with GuidedReLUs() as relus:
        guided = network(inputs)
    assert torch.equal(guided, network(inputs))
    assert relus.n_relus == 1


class Transformer(nn.Module):
    """A tower of GELUs with one ReLU at its end, as the projection of CLAP has."""

    def __init__(self, activation):
        super().__init__()
        self.embed = nn.Linear(1, 8)
        layer = nn.TransformerEncoderLayer(
            8, 2, 16, dropout=0.0, activation=activation, batch_first=True
        )
        self.tower = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))

    def forward(self, features):
        return self.head(self.tower(self.embed(features)).mean(1))


@pytest.mark.parametrize("method", [GuidedBackprop(keep), GuidedGradCAM(keep)])
def test_a_tower_of_gelus_with_one_relu_is_refused(method):
    torch.manual_seed(0)
    wav = [[0.1, 0.5, 0.3]]
    classifier = Classifier(Transformer("gelu").eval())
    with pytest.raises(InputError, match="1 ReLU.* gelu"):
        attribute(method, classifier, wav)
    # The same tower of ReLUs is none of the refused.
    relus = Classifier(Transformer("relu").eval())
    assert attribute(GuidedBackprop(keep), relus, wav).shape == (1, 3)


UNGUIDED = {
    "gelu": [F.gelu, nn.GELU(), nn.GELU("tanh")],
    "silu": [F.silu, nn.SiLU(inplace=True)],
    "elu": [F.elu, nn.ELU(), F.elu_],
    "tanh": [torch.tanh, F.tanh, torch.Tensor.tanh, torch.tanh_, nn.Tanh()],
    "sigmoid": [torch.sigmoid, F.sigmoid, nn.Sigmoid()],
    "leaky_relu": [F.leaky_relu, F.leaky_relu_, nn.LeakyReLU()],
    "hardtanh": [nn.ReLU6(), nn.Hardtanh()],
    "prelu": [nn.PReLU()],
    "mish": [nn.Mish()],
    "softplus": [nn.Softplus()],
    "lstm": [lambda x: nn.LSTM(3, 3)(x)[0]],
}


@pytest.mark.parametrize(
    "name, activation", [(n, a) for n, many in UNGUIDED.items() for a in many]
)
def test_other_activations_are_refused_by_their_name(name, activation):
    classifier = Classifier(
        lambda f: (F.relu(f[..., 0]) + activation(2 * f[..., 0])).sum(1)[:, None]
    )
    with pytest.raises(InputError, match=f"1 ReLU.* {name}"):
        attribute(GuidedBackprop(keep), classifier, [[1.0, 2.0, 3.0]])


def test_a_network_without_a_relu_is_refused():
    with pytest.raises(InputError, match=" 0 ReLU"):
        attribute(GuidedBackprop(keep), Classifier(square), [[1.0, 2.0]])


# --- Errors ---------------------------------------------------------------------------


CAPTUM = {
    "Saliency": lambda: Saliency(keep),
    "SmoothGrad": lambda: SmoothGrad(1, 0.1, 1, 1, keep),
    "IG": lambda: IntegratedGradients(1, 1, keep),
    "GradCAM": lambda: GradCAM(keep),
    "Guided GradCAM": lambda: GuidedGradCAM(keep),
    "SHAP": lambda: GradientShap(1, 1, 1, keep),
}


@pytest.mark.parametrize("make", CAPTUM.values(), ids=CAPTUM)
def test_without_captum_the_extra_is_named(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.delitem(sys.modules, "captum.attr", raising=False)
    with pytest.raises(InputError, match=r"install 'speechbrain_lmac\[baselines\]'"):
        make()


def test_grad_cam_plus_plus_works_without_captum(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.delitem(sys.modules, "captum.attr", raising=False)
    attribution = attribute(GradCAMPlusPlus(keep), two_channels(), [[1.0, 3.0]])
    assert attribution[0, 1] == 1.25


def test_shap_without_a_background_is_refused():
    with pytest.raises(InputError, match="background.TrainingClips"):
        attribute(GradientShap(1, 1, 1, keep), Classifier(square), [[1.0]])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: IntegratedGradients(0, 1, keep), "n_steps.* got 0"),
        (lambda: IntegratedGradients(5, 0, keep), "internal_batch_size.* got 0"),
        (lambda: SmoothGrad(2.5, 0.1, 1, 1, keep), "n_samples.* got 2.5"),
        (lambda: SmoothGrad(2, 0.1, 0, 1, keep), "samples_per_batch.* got 0"),
        (lambda: SmoothGrad(2, -0.1, 1, 1, keep), "noise.* got -0.1"),
        (lambda: GradientShap(0, 1, 1, keep), "n_samples.* got 0"),
        (
            lambda: Saliency(functools.partial(absolute, quantil=1)),
            "absolute.*'quantil'",
        ),
    ],
)
def test_invalid_settings_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


# --- Baselines ------------------------------------------------------------------------


def test_baselines_make_an_explainer_of_each_method_in_their_order():
    methods = {"b": Saliency(keep), "dropped": None, "a": GradCAMPlusPlus(keep)}
    explainers = Baselines(methods).explainers(Domain(), two_channels())
    assert list(explainers) == ["b", "a"]
    mask = explainers["a"].explain(torch.tensor([[1.0, 3.0]])).mask
    assert mask[0, 1, 0] == 1.25


def test_a_misspelt_method_is_named():
    methods = {"IG": Saliency(keep), "IGG": {"n_steps": 20}}
    with pytest.raises(InputError, match=r"'IGG'.*n_steps.* IG$"):
        Baselines(methods)
