"""What holds for L2I: its dictionary, its activations, its masks, its objective."""

import math
from dataclasses import dataclass

import pytest
import torch

from speechbrain_lmac.classifiers import CNN14Classifier, CompactClassifier
from speechbrain_lmac.domains.stft import MagnitudeSTFTDomain, MelDomain, STFTDomain
from speechbrain_lmac.evidence import gather_evidence
from speechbrain_lmac.explainers import L2IExplainer
from speechbrain_lmac.explainers.l2i import relevance, share_of
from speechbrain_lmac.hub.weights import save_weights
from speechbrain_lmac.interpreters import (
    ConvActivations,
    L2IInterpreter,
    LearnedOverTime,
    MeanOverTime,
    PublishedActivations,
    TrainedInterpreter,
)
from speechbrain_lmac.interpreters.l2i import Interpretation
from speechbrain_lmac.interpreters.nmf import (
    Dictionary,
    SpectralAutoencoder,
    front_end_of,
    load_dictionary,
)
from speechbrain_lmac.losses.l2i import (
    L2IEvidence,
    activations_l1,
    distillation,
    fidelity,
    reconstruction,
)
from speechbrain_lmac.losses.lmac import WeightedObjective
from speechbrain_lmac.types import ClassifierOutput, Encoded
from speechbrain_lmac.utils.errors import InputError

RATE, BINS, CLASSES, COMPONENTS = 16000, 513, 3, 7
CHANNELS = (4, 8, 16)
TERMS = {
    "reconstruction": reconstruction,
    "activations_l1": activations_l1,
    "distillation": distillation,
}


def compact_psi(n_components=COMPONENTS):
    return ConvActivations(CHANNELS, [6, 6, 6], 4, 80, n_components)


def interpreter_for(domain, psi=None, pooling=None, n_components=COMPONENTS):
    """Random weights and a random dictionary of a domain."""
    torch.manual_seed(0)
    interpreter = L2IInterpreter(
        psi or compact_psi(n_components),
        pooling or MeanOverTime(),
        CLASSES,
        n_components,
        domain.n_bins,
    )
    interpreter.dictionary.spectra.uniform_()
    interpreter.dictionary.front_end.copy_(front_end_of(domain))
    return interpreter.eval()


@pytest.fixture(scope="module")
def domain():
    return STFTDomain(RATE)


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(1)
    return CompactClassifier(CLASSES, channels=CHANNELS).eval()


@pytest.fixture(scope="module")
def interpreter(domain):
    return interpreter_for(domain)


def noise(n_clips, seconds=0.4):
    draw = torch.Generator().manual_seed(2)
    return torch.randn(n_clips, round(seconds * RATE), generator=draw)


# --- The dictionary -------------------------------------------------------------------


@pytest.mark.parametrize("pace", [1.0, 60.0])
def test_spectra_and_reconstructions_are_not_negative(domain, pace):
    torch.manual_seed(0)
    autoencoder = SpectralAutoencoder(BINS, 5, pace)
    with torch.no_grad():
        autoencoder.decoder.W.sub_(0.05 / pace)  # as training may leave it
    assert (autoencoder.decoder.W < 0).any()
    dictionary = autoencoder.dictionary(domain)
    assert dictionary.spectra.shape == (BINS, 5)
    assert (dictionary.spectra >= 0).all()
    rep = domain.encode(noise(2)).rep
    made = autoencoder(rep)
    assert made.shape == rep.shape
    assert (made >= 0).all()


def test_the_dictionary_is_the_decoder_of_the_autoencoder(domain):
    torch.manual_seed(0)
    autoencoder = SpectralAutoencoder(BINS, 5, pace=3.0)
    rep = domain.encode(noise(2)).rep
    activations = autoencoder.encoder(rep.transpose(1, 2)).transpose(1, 2)
    made = autoencoder.dictionary(domain)(activations)
    torch.testing.assert_close(made, autoencoder(rep))


def test_the_pace_changes_how_fast_spectra_learn_and_not_where_they_start(domain):
    rep = domain.encode(noise(2)).rep
    starts, moved = [], []
    for pace in (1.0, 60.0):
        torch.manual_seed(0)
        autoencoder = SpectralAutoencoder(BINS, 5, pace)
        optimizer = torch.optim.Adam(autoencoder.parameters(), lr=1e-4)
        before = autoencoder.dictionary(domain).spectra
        (autoencoder(rep) - rep).square().mean().backward()
        optimizer.step()
        starts.append(before)
        moved.append((autoencoder.dictionary(domain).spectra - before).abs().max())
    torch.testing.assert_close(*starts)
    assert moved[0].item() == pytest.approx(1e-4, rel=1e-2)
    assert moved[1].item() == pytest.approx(60e-4, rel=1e-2)


OTHERS = [
    (STFTDomain(8000), "sample_rate 8000"),
    (STFTDomain(RATE, hop_length_ms=10.0), "hop_length 160"),
    (STFTDomain(RATE, win_length_ms=32.0), "win_length 512"),
    (MagnitudeSTFTDomain(RATE), "rep_of_1 1"),
]


@pytest.mark.parametrize("other, named", OTHERS)
def test_a_dictionary_of_another_front_end_is_refused(
    domain, classifier, other, named, tmp_path
):
    save_weights(SpectralAutoencoder(BINS, 5).dictionary(other), tmp_path / "d.ckpt")
    with pytest.raises(InputError) as error:
        load_dictionary(Dictionary(BINS, 5), tmp_path / "d.ckpt", domain)
    assert named in str(error.value)
    for own in ("sample_rate 16000", "hop_length 186", "rep_of_1 0.693147"):
        assert own in str(error.value)
    # And where a trained interpreter meets the domain in which it shall explain.
    with pytest.raises(InputError, match=named):
        L2IExplainer(domain, classifier, interpreter_for(other))


def test_a_dictionary_of_other_sizes_is_refused(domain, tmp_path):
    save_weights(SpectralAutoencoder(BINS, 5).dictionary(domain), tmp_path / "d.ckpt")
    with pytest.raises(InputError, match=r"\(513, 5\).*\(513, 7\)"):
        load_dictionary(Dictionary(BINS, 7), tmp_path / "d.ckpt", domain)
    with pytest.raises(InputError, match=r"\(513, 5\).*\(257, 5\)"):
        load_dictionary(Dictionary(257, 5), tmp_path / "d.ckpt", domain)


def test_a_dictionary_that_is_not_there(domain, tmp_path):
    with pytest.raises(InputError, match="train_nmf.py.*--dictionary_checkpoint"):
        load_dictionary(Dictionary(BINS, 5), tmp_path / "d.ckpt", domain)


def test_a_dictionary_comes_back_as_it_was(domain, tmp_path):
    torch.manual_seed(0)
    made = SpectralAutoencoder(BINS, 5).dictionary(domain)
    save_weights(made, tmp_path / "d.ckpt")
    loaded = Dictionary(BINS, 5)
    load_dictionary(loaded, tmp_path / "d.ckpt", domain)
    assert torch.equal(loaded.spectra, made.spectra)


# --- The interpreter ------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.05, 0.2, 1.0, 2.34, 7.0])
@torch.no_grad()
def test_a_mask_for_clips_of_any_length(domain, classifier, interpreter, seconds):
    explainer = L2IExplainer(domain, classifier, interpreter)
    explanation = explainer.explain(noise(2, seconds))
    assert explanation.mask.shape == explanation.encoded.rep.shape


@pytest.mark.parametrize("n_frames", [32, 47, 63, 431, 500])
@torch.no_grad()
def test_published_activations_for_any_number_of_frames(n_frames):
    torch.manual_seed(0)
    classifier = CNN14Classifier(CLASSES, emb_dim=8).eval()
    psi = PublishedActivations((256, 512, 1024, 8), width=8, n_components=5)
    hidden = classifier(torch.rand(1, n_frames, 80)).hidden
    activations = psi(hidden, n_frames)
    assert activations.shape == (1, n_frames, 5)
    assert (activations >= 0).all() and activations.any()


@torch.no_grad()
def test_an_event_moves_the_activations_at_its_time():
    torch.manual_seed(0)
    psi = compact_psi().eval()
    hidden = tuple(
        torch.rand(1, channels, 432 // stride, 80 // stride)
        for channels, stride in zip(CHANNELS, (2, 4, 8), strict=True)
    )
    louder = (hidden[0].clone(), *hidden[1:])
    louder[0][:, :, 100] += 5
    moved = (psi(hidden, 432) - psi(louder, 432)).abs().amax((0, 2)).nonzero()
    # Step 100 of the first map lies at frames 200 and 201; 4: half a step of doubling
    # and a 3x3 convolution.
    assert moved.min() >= 200 - 4
    assert moved.max() <= 201 + 4


@torch.no_grad()
def test_low_and_high_bands_make_different_activations():
    # A mean over the bands would make them the same, but for the edges.
    torch.manual_seed(0)
    psi = compact_psi().eval()
    made = []
    for band in (10, 30):
        hidden = [
            torch.zeros(1, channels, 16 // stride, 80 // stride)
            for channels, stride in zip(CHANNELS, (2, 4, 8), strict=True)
        ]
        hidden[0][:, :, 4, band] = 20.0
        made.append(psi(tuple(hidden), 16))
    assert (made[0] - made[1]).abs().max() > 0.1 * made[0].max()


@torch.no_grad()
def test_learned_weights_at_another_length_weigh_a_steady_activation_the_same():
    torch.manual_seed(0)
    pooling = LearnedOverTime(n_frames=431)
    # Random weights have a sum near 0: these rise, so that their order counts.
    pooling.weights.copy_(torch.linspace(0, 1, 431))
    steady = [pooling(torch.ones(1, frames, 2)) for frames in (100, 431, 900)]
    torch.testing.assert_close(steady[0], steady[1], rtol=1e-5, atol=0)
    torch.testing.assert_close(steady[2], steady[1], rtol=1e-5, atol=0)
    late = torch.zeros(1, 100, 1)
    late[:, 90:] = 1
    assert pooling(late) > 5 * pooling(late.flip(1))


def test_psi_and_theta_must_have_as_many_components(domain):
    with pytest.raises(InputError, match="n_components.*7.*5"):
        L2IInterpreter(compact_psi(5), MeanOverTime(), CLASSES, n_components=7)


def test_the_dictionary_is_not_trained(domain, classifier):
    interpreter = interpreter_for(domain).train()
    before = interpreter.dictionary.spectra.clone()
    evidence = evidence_at(domain, classifier, interpreter, noise(2))
    objective = WeightedObjective(TERMS, dict.fromkeys(TERMS, 1.0))
    objective.total(objective(evidence)).mean().backward()
    optimizer = torch.optim.AdamW(interpreter.parameters(), lr=0.1)
    optimizer.step()
    assert torch.equal(interpreter.dictionary.spectra, before)
    assert all(p.grad.any() for p in interpreter.parameters())


def test_a_trained_interpreter_brings_its_dictionary(domain, classifier, tmp_path):
    trained = interpreter_for(domain)
    save_weights(trained, tmp_path / "interpreter.ckpt")
    torch.manual_seed(5)
    empty = L2IInterpreter(compact_psi(), MeanOverTime(), CLASSES, COMPONENTS)
    loaded = TrainedInterpreter(empty, tmp_path / "interpreter.ckpt")
    wav = noise(2)
    masks = [
        L2IExplainer(domain, classifier, each).explain(wav).mask
        for each in (trained, loaded)
    ]
    assert torch.equal(*masks)
    other = L2IInterpreter(compact_psi(5), MeanOverTime(), CLASSES, 5)
    with pytest.raises(InputError, match="n_components"):
        TrainedInterpreter(other, tmp_path / "interpreter.ckpt")


# --- The explainer --------------------------------------------------------------------


@pytest.mark.parametrize("threshold", [-2.0, 0.0, 0.2, 0.4, 0.999])
def test_masks_lie_in_0_to_1_and_can_be_scored(
    domain, classifier, interpreter, threshold
):
    explainer = L2IExplainer(domain, classifier, interpreter, threshold)
    explanation = explainer.explain(noise(3))
    assert ((explanation.mask >= 0) & (explanation.mask <= 1)).all()
    assert not explanation.mask.requires_grad
    evidence = gather_evidence(domain, classifier, explanation)
    assert torch.equal(explanation.target, evidence.logits.argmax(1))
    assert evidence.logits_out.isfinite().all()


def test_all_components_together_are_everything(domain, classifier, interpreter):
    mask = L2IExplainer(domain, classifier, interpreter, -1.5).explain(noise(2)).mask
    torch.testing.assert_close(mask, torch.ones_like(mask), rtol=0, atol=1e-4)


def test_a_higher_threshold_keeps_less(domain, classifier, interpreter):
    masks = [
        L2IExplainer(domain, classifier, interpreter, threshold).explain(noise(2)).mask
        for threshold in (0.1, 0.3, 0.6)
    ]
    assert (masks[0] >= masks[1] - 1e-6).all()
    assert (masks[1] >= masks[2] - 1e-6).all()
    assert masks[0].mean() > masks[2].mean() > 0


@dataclass
class TwoComponents:
    """Two frames, three bins, two components and two classes, by hand."""

    theta: torch.Tensor  # (C, K)
    dictionary: object = None

    def __post_init__(self):
        self.dictionary = Dictionary(n_bins=3, n_components=2)
        self.dictionary.spectra.copy_(
            torch.tensor([[3.0, 1.0], [0.0, 2.0], [0.0, 0.0]])
        )
        self.dictionary.front_end.copy_(front_end_of(STFTDomain(RATE)))

    def __call__(self, hidden, encoded):
        activations = torch.tensor([[[1.0, 1.0], [2.0, 0.0]]])
        pooled = activations.mean(1)  # z = (1.5, 0.5)
        contributions = self.theta * pooled[:, None]
        return Interpretation(activations, self.dictionary.spectra, contributions)


class ThreeBins(STFTDomain):
    """A domain whose representation is two frames of three bins."""

    def encode(self, wav, lens=None):
        return Encoded(torch.ones(len(wav), 2, 3), None, wav.shape[1])

    def features(self, encoded):
        return encoded.rep


def first_class(features):
    return ClassifierOutput(torch.tensor([[2.0, 1.0]]), ())


def test_relevance_and_mask_by_hand():
    # Class 0: theta z = (1.5 * 0.2, 0.5 * 2) = (0.3, 1.0), relevance (0.3, 1).
    # Class 1: theta z = (1.5 * 2, 0.5 * -2) = (3, -1), relevance (1, -1/3).
    interpreter = TwoComponents(torch.tensor([[0.2, 2.0], [2.0, -2.0]]))
    interpretation = interpreter((), None)
    torch.testing.assert_close(
        relevance(interpretation, torch.tensor([0])), torch.tensor([[0.3, 1.0]])
    )
    torch.testing.assert_close(
        relevance(interpretation, torch.tensor([1])), torch.tensor([[1.0, -1 / 3]])
    )
    torch.testing.assert_close(interpretation.logits, torch.tensor([[1.3, 2.0]]))
    # W H in frame 1: (3 + 1, 2, 0); in frame 2: (6, 0, 0).
    expected = torch.tensor([[[4.0, 2.0, 0.0], [6.0, 0.0, 0.0]]])
    assert torch.equal(interpretation.reconstruction, expected)

    domain, wav = ThreeBins(RATE), torch.zeros(1, 100)

    def mask(threshold, target=None):
        target = None if target is None else torch.tensor([target])
        explainer = L2IExplainer(domain, first_class, interpreter, threshold)
        explanation = explainer.explain(wav, target)
        return explanation.mask[0].tolist()

    # The classifier says class 0, although theta says 1. At 0.4 component 2 alone, at
    # 0.2 both; where W H is 0 the mask is 0.
    assert mask(0.4) == [[0.25, 1.0, 0.0], [0.0, 0.0, 0.0]]
    assert mask(0.2) == [[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    # Another class, another component.
    assert mask(0.4, target=1) == [[0.75, 0.0, 0.0], [1.0, 0.0, 0.0]]
    assert mask(0.4, target=0) == mask(0.4)


@pytest.mark.parametrize("sign", [0.0, -1.0])
def test_where_nothing_speaks_for_the_class_the_mask_is_empty(sign):
    interpreter = TwoComponents(sign * torch.ones(2, 2))
    explainer = L2IExplainer(ThreeBins(RATE), first_class, interpreter, 0.2)
    assert (explainer.explain(torch.zeros(1, 100)).mask == 0).all()


def test_the_explained_class_matters(domain, classifier, interpreter):
    explainer, wav = L2IExplainer(domain, classifier, interpreter), noise(1)
    masks = [explainer.explain(wav, torch.tensor([c])).mask for c in range(CLASSES)]
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[1], masks[2])


def test_a_mask_does_not_depend_on_the_batch(domain, classifier, interpreter):
    explainer, wav = L2IExplainer(domain, classifier, interpreter), noise(3)
    together = explainer.explain(wav).mask
    for item in range(3):
        alone = explainer.explain(wav[item : item + 1]).mask[0]
        torch.testing.assert_close(together[item], alone, rtol=1e-4, atol=1e-5)


def test_share_of_nothing_is_nothing():
    activations, spectra = torch.zeros(1, 2, 2), torch.ones(3, 2)
    interpretation = Interpretation(activations, spectra, None)
    mask = share_of(interpretation, torch.ones(1, 2, dtype=torch.bool))
    assert (mask == 0).all()


def test_a_mel_spectrogram_has_no_such_spectra(classifier, interpreter):
    with pytest.raises(InputError, match="MelDomain.*STFTDomain"):
        L2IExplainer(MelDomain(RATE), classifier, interpreter)


@pytest.mark.parametrize("threshold", [1.0, 20, math.nan])
def test_a_threshold_that_nothing_exceeds_is_refused(
    domain, classifier, interpreter, threshold
):
    with pytest.raises(InputError, match=f"relevance_threshold.*{threshold}"):
        L2IExplainer(domain, classifier, interpreter, threshold)


# --- The objective --------------------------------------------------------------------


def evidence_at(domain, classifier, interpreter, wav):
    with torch.no_grad():
        encoded = domain.encode(wav)
        output = classifier(domain.features(encoded))
    return L2IEvidence(encoded.rep, output.logits, interpreter(output.hidden, encoded))


def test_terms_by_hand():
    interpretation = Interpretation(
        activations=torch.tensor([[[1.0, 2.0]]]),
        spectra=torch.tensor([[1.0, 0.0], [0.0, 2.0]]),
        contributions=torch.tensor([[[0.0, 0.0], [math.log(2), math.log(2)]]]),
    )
    evidence = L2IEvidence(
        rep=torch.tensor([[[2.0, 1.0]]]),
        logits=torch.tensor([[math.log(3), 0.0]]),
        interpretation=interpretation,
    )
    # H W^T = (1, 4): errors 1 and 3. theta says (0.2, 0.8), the classifier (3/4, 1/4).
    assert reconstruction(evidence).item() == pytest.approx(5.0)
    assert activations_l1(evidence).item() == pytest.approx(1.5)
    by_hand = -(0.75 * math.log(0.2) + 0.25 * math.log(0.8)) / 2
    assert distillation(evidence).item() == pytest.approx(by_hand)
    assert fidelity(evidence).tolist() == [0.0]


@pytest.mark.parametrize("name", [*TERMS, "fidelity"])
@torch.no_grad()
def test_a_term_has_one_value_per_clip_whatever_stands_beside_it(
    name, domain, classifier, interpreter
):
    term, wav = {**TERMS, "fidelity": fidelity}[name], noise(3)
    together = term(evidence_at(domain, classifier, interpreter, wav))
    assert together.shape == (3,)
    for item in range(3):
        one = wav[item : item + 1]
        alone = term(evidence_at(domain, classifier, interpreter, one))
        torch.testing.assert_close(together[item : item + 1], alone)


def test_the_gradient_does_not_reach_the_classifier(domain, interpreter):
    torch.manual_seed(1)
    classifier = CompactClassifier(CLASSES, channels=CHANNELS).eval()
    evidence = evidence_at(domain, classifier, interpreter, noise(1))
    sum(term(evidence).sum() for term in TERMS.values()).backward()
    assert all(p.grad is None for p in classifier.parameters())


# --- The method -----------------------------------------------------------------------

TONES = (500.0, 1500.0, 4000.0)  # Hz; the classifier compares the first two


def chords(levels):
    """Chords of the three tones at these levels (B, 3), 0.2 s."""
    time = torch.arange(round(0.2 * RATE)) / RATE
    tones = torch.stack([torch.sin(2 * math.pi * hz * time) for hz in TONES])
    return levels @ tones


def bins_of_tones(domain):
    return [round(hz * domain.n_fft / domain.sample_rate) for hz in TONES]


@dataclass
class LouderTone:
    """Says which of the first two tones is louder; its hidden map is rep."""

    domain: STFTDomain

    def __call__(self, rep):
        levels = rep[:, :, bins_of_tones(self.domain)].mean(1)
        return ClassifierOutput(4 * levels[:, :2], (rep[:, None],))


class ToneLevels(torch.nn.Module):
    """A psi that sees the tones: their level in each frame."""

    n_components = 3

    def __init__(self, domain):
        super().__init__()
        self.bins = bins_of_tones(domain)

    def forward(self, hidden, frames):
        return hidden[0][:, 0, :frames, self.bins]


class HearsRep(STFTDomain):
    """Its classifier gets the representation itself."""

    def features(self, encoded):
        return encoded.rep


def test_the_tone_that_decides_is_explained_and_the_ignored_one_is_not():
    domain = HearsRep(RATE)
    classifier = LouderTone(domain)
    torch.manual_seed(0)
    interpreter = L2IInterpreter(ToneLevels(domain), MeanOverTime(), 2, 3)
    # Spectra: the tones alone, relative to their peak.
    alone = domain.encode(chords(torch.eye(3))).rep.mean(1)
    interpreter.dictionary.spectra.copy_((alone / alone.amax(1, keepdim=True)).T)
    interpreter.dictionary.front_end.copy_(front_end_of(domain))

    draw = torch.Generator().manual_seed(3)
    encoded = domain.encode(chords(torch.rand(64, 3, generator=draw)))
    output = classifier(encoded.rep)
    optimizer = torch.optim.Adam(interpreter.parameters(), lr=0.1)
    for _ in range(100):
        evidence = L2IEvidence(
            encoded.rep, output.logits, interpreter(output.hidden, encoded)
        )
        optimizer.zero_grad()
        distillation(evidence).mean().backward()
        optimizer.step()
    assert fidelity(evidence).mean() > 0.95

    wav = chords(torch.tensor([[0.9, 0.4, 0.8], [0.4, 0.9, 0.8]]))
    explanation = L2IExplainer(domain, classifier, interpreter, 0.2).explain(wav)
    assert explanation.target.tolist() == [0, 1]
    at_tones = explanation.mask.mean(1)[:, bins_of_tones(domain)]
    assert at_tones[0, 0] > 0.9 and at_tones[1, 1] > 0.9
    assert at_tones[0, 1:].max() < 0.1
    assert at_tones[1, [0, 2]].max() < 0.1
