"""Explainers from the folders of trainings."""

import pytest
import torch

from speechbrain_lmac.classifiers import CompactClassifier, FrozenClassifier
from speechbrain_lmac.domains import LearnedDomain, MelDomain, STFTDomain
from speechbrain_lmac.domains.codec import Codec, save_codec
from speechbrain_lmac.explainers import (
    AmortizedExplainer,
    L2IExplainer,
    TrainedExplainer,
)
from speechbrain_lmac.interpreters import (
    ConvActivations,
    ConvInterpreter,
    L2IInterpreter,
    MeanOverTime,
    MelToBins,
)
from speechbrain_lmac.interpreters.nmf import SpectralAutoencoder
from speechbrain_lmac.interpreters.trained import hash_of_classifier, save_interpreter
from speechbrain_lmac.utils.errors import InputError

RATE = 8000
STFT = {"sample_rate": RATE, "n_fft": 256, "n_mels": 16}
# As a training writes it: with anchors, and a classifier that would have to be found.
TRAINING = """\
# Generated 2026-01-01 from:
# hparams/mine.yaml
seed: 1234
domain: &domain !new:speechbrain_lmac.domains.STFTDomain
    sample_rate: 8000
    n_fft: 256
    n_mels: 16
classifier: &classifier !new:speechbrain_lmac.classifiers.FrozenClassifier
    model: !new:speechbrain_lmac.classifiers.CompactClassifier
        n_classes: 3
        n_mels: 16
        channels: [4, 8]
    source: a/folder/that/is/gone
"""
CONV = "speechbrain_lmac.interpreters.ConvInterpreter"
WIDTHS = """\
    hidden_channels: [4, 8]
    widths: [4, 4]
    head_width: 4
    n_bands: 16
    frequency: !new:speechbrain_lmac.interpreters.MelToBins
        {sample_rate: 8000, n_fft: 256, n_mels: 16}
"""
L2I = """\
    psi: !new:speechbrain_lmac.interpreters.ConvActivations
        {hidden_channels: [4, 8], widths: [4, 4], head_width: 4, n_bands: 16,
         n_components: 5}
    pooling: !new:speechbrain_lmac.interpreters.MeanOverTime
    n_classes: 3
    n_components: 5
    n_bins: 129
explainer: !name:speechbrain_lmac.explainers.L2IExplainer
    relevance_threshold: 0.2
"""
AROUND = """\
import torch

class Around(torch.nn.Module):
    def __init__(self, classifier, domain):
        super().__init__()
        self.parts = [classifier, domain]
"""


@pytest.fixture
def classifier(tmp_path):
    torch.manual_seed(0)
    model = CompactClassifier(n_classes=3, n_mels=16, channels=[4, 8])
    model.save(["a", "b", "c"], tmp_path / "classifier")
    return FrozenClassifier(model, tmp_path / "classifier")


def conv():
    torch.manual_seed(1)
    to_bins = MelToBins(sample_rate=RATE, n_fft=256, n_mels=16)
    return ConvInterpreter([4, 8], [4, 4], 4, 16, to_bins)


def training(folder, interpreter, classifier, kind=CONV, rest=WIDTHS):
    """A folder as a training leaves it."""
    folder.mkdir(exist_ok=True)
    text = TRAINING + f"interpreter: !new:{kind}\n{rest}"
    (folder / "hyperparams.yaml").write_text(text)
    save_interpreter(
        interpreter, folder / "interpreter.ckpt", hash_of_classifier(classifier)
    )
    return folder


def test_it_explains_as_the_training_did(tmp_path, classifier):
    interpreter = conv().eval()
    folder = training(tmp_path / "lmac", interpreter, classifier)
    torch.manual_seed(7)  # the weights come from the file
    explainer = TrainedExplainer(str(folder)).open(classifier)
    assert type(explainer) is AmortizedExplainer
    assert explainer.classifier is classifier
    wav = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    expected = AmortizedExplainer(STFTDomain(**STFT), classifier, interpreter)
    assert torch.equal(explainer.explain(wav).mask, expected.explain(wav).mask)
    assert not any(p.requires_grad for p in explainer.interpreter.parameters())


@pytest.mark.parametrize("given", [True, False])
def test_explainers_of_a_block_share_one_domain(tmp_path, classifier, given):
    folder = training(tmp_path / "lmac", conv(), classifier)
    domain = STFTDomain(**STFT) if given else TrainedExplainer(folder).open(classifier)
    domain = domain if given else domain.domain
    assert TrainedExplainer(folder).open(classifier, domain).domain is domain
    with pytest.raises(InputError, match=r"\(STFTDomain at 8000 Hz\).*\(MelDomain"):
        TrainedExplainer(folder).open(classifier, MelDomain(**STFT))


def test_what_is_built_around_the_classifier_gets_the_given_one(tmp_path, classifier):
    (tmp_path / "around_it.py").write_text(AROUND)
    keys = "    classifier: *classifier\n    domain: *domain\n"
    folder = training(tmp_path, torch.nn.Module(), classifier, "around_it.Around", keys)
    explainer = TrainedExplainer(folder).open(classifier)
    parts = explainer.interpreter.interpreter.parts
    assert parts[0] is classifier and parts[1] is explainer.domain


def test_another_classifier_is_refused(tmp_path, classifier):
    folder = training(tmp_path / "lmac", conv(), classifier)
    with torch.no_grad():
        next(classifier.parameters()).add_(1.0)
    with pytest.raises(InputError, match="lmac.*interpreter.ckpt.*classifier"):
        TrainedExplainer(folder).open(classifier)


def test_a_missing_part_is_named(tmp_path, classifier):
    folder = training(tmp_path / "lmac", conv(), classifier)
    nowhere = TrainedExplainer(tmp_path / "nowhere")
    with pytest.raises(InputError, match="interpreter.*nowhere"):
        nowhere.open(classifier)
    (folder / "interpreter.ckpt").unlink()
    with pytest.raises(InputError, match="lmac.*: missing.* interpreter.ckpt"):
        TrainedExplainer(folder).open(classifier)
    folder = training(tmp_path / "lmac", conv(), classifier)
    path = folder / "hyperparams.yaml"
    path.write_text(path.read_text().split("interpreter:")[0])
    with pytest.raises(InputError, match=r"keys: \['interpreter'\]"):
        TrainedExplainer(folder).open(classifier)
    path.write_text("")
    with pytest.raises(InputError, match="hyperparams.yaml.*`key: value`"):
        TrainedExplainer(folder).open(classifier)


def test_a_file_of_version_0_2_is_read(tmp_path, classifier, caplog):
    folder = training(tmp_path / "lmac", conv(), classifier)
    path = folder / "hyperparams.yaml"
    old = "explainer: !name:speechbrain_lmac.explainers.AmortizedExplainer\n"
    metric = "metrics: !name:speechbrain_lmac.metrics.masks.empty\n"
    path.write_text(path.read_text() + old + metric)
    assert TrainedExplainer(folder).open(classifier)
    assert "speechbrain_lmac.metrics.masks.empty is now" in caplog.text


def test_settings_stand_in_place_of_the_trainings(tmp_path, classifier):
    torch.manual_seed(2)
    domain = STFTDomain(**STFT)
    psi = ConvActivations([4, 8], [4, 4], 4, 16, 5)
    interpreter = L2IInterpreter(psi, MeanOverTime(), 3, 5, 129)
    dictionary = SpectralAutoencoder(n_components=5, n_bins=129).dictionary(domain)
    interpreter.dictionary.load_state_dict(dictionary.state_dict())
    kind = "speechbrain_lmac.interpreters.L2IInterpreter"
    folder = training(tmp_path / "l2i", interpreter, classifier, kind, L2I)
    for settings, threshold in (({}, 0.2), ({"relevance_threshold": 0.4}, 0.4)):
        explainer = TrainedExplainer(folder, **settings).open(classifier)
        assert isinstance(explainer, L2IExplainer)
        assert explainer.relevance_threshold == threshold
    with pytest.raises(InputError, match="settings threshold .*l2i"):
        TrainedExplainer(folder, threshold=0.4).open(classifier)


def test_a_codec_that_was_trained_along_is_loaded(tmp_path, classifier):
    folder = training(tmp_path / "td", conv(), classifier)
    path = folder / "hyperparams.yaml"
    head, tail = path.read_text().split("classifier: &classifier", 1)
    stft = head[head.index("domain:") :].replace("domain: &domain ", "stft: &stft ", 1)
    learned = (
        "domain: &domain !new:speechbrain_lmac.domains.LearnedDomain\n"
        "    stft: *stft\n"
        "    codec: !new:speechbrain_lmac.domains.codec.Codec\n"
        "        sample_rate: 8000\n        n_channels: 8\n"
    )
    path.write_text(f"{stft}{learned}classifier: &classifier{tail}")
    codec = Codec(RATE, n_channels=8)
    with torch.no_grad():
        codec.decoder.weight.mul_(0.5)
    save_codec(codec, folder / "codec")
    domain = TrainedExplainer(folder).open(classifier).domain
    assert isinstance(domain, LearnedDomain)
    assert torch.equal(domain.codec.decoder.weight, codec.decoder.weight)
    assert not domain.codec.decoder.weight.requires_grad
