"""What holds for the big CLAPs: place in time and frequency, masks, gradients."""

import pytest
import torch

from speechbrain_lmac.classifiers import HuggingFaceClap, MelClap, MicrosoftClap
from speechbrain_lmac.classifiers.clap.classifier import ClapClassifier
from speechbrain_lmac.classifiers.clap.front_ends import ClapSpectrogram, repeated
from speechbrain_lmac.classifiers.padding import classify
from speechbrain_lmac.domains.clap import ClapMelDomain, ClapSTFTDomain
from speechbrain_lmac.explainers import (
    AmortizedExplainer,
    AttributionExplainer,
    GradCAM,
    GradCAMPlusPlus,
    Saliency,
)
from speechbrain_lmac.interpreters import AlignedInterpreter, FiLMInterpreter
from speechbrain_lmac.utils.errors import InputError

PROMPTS = ["dog", "rain", "sea waves"]
DOMAINS = [ClapSTFTDomain, ClapMelDomain]


@pytest.fixture(scope="module", params=[HuggingFaceClap, MicrosoftClap])
def clap(request, clap_folder, microsoft_folder):
    if request.param is HuggingFaceClap:
        return HuggingFaceClap(clap_folder).eval()
    clap = MicrosoftClap(microsoft_folder, microsoft_folder / "tokenizer").eval()
    # Its convolutions are as wide as the published ones: a window of 1.16 s, not 5 s.
    sizes = (44100, 1024, 320, 160 * 320, 64, 50.0, 14000.0)
    clap.front_end = ClapSpectrogram(*sizes, fill=repeated)
    return clap


def classifier_of(clap, kind):
    """The zero-shot classifier that hears what the domain gives."""
    return ClapClassifier(MelClap(clap) if kind is ClapMelDomain else clap, PROMPTS)


def noise(n_clips, n_samples, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(n_clips, n_samples, generator=draw)


def seconds(clap, value):
    return round(value * clap.sample_rate)


def window(clap):
    return clap.front_end.n_samples


# --- Place --------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.37, 0.9])
def test_an_event_stands_at_its_time_in_every_map_of_htsat(share, clap_folder):
    # Attention in windows keeps it within a step; folded, it would be anywhere.
    clap = HuggingFaceClap(clap_folder).eval()
    wav = 0.01 * noise(1, window(clap))
    start = round(share * window(clap))
    louder = wav.clone()
    louder[:, start : start + 800] += 10 * noise(1, 800, seed=1)
    with torch.no_grad():
        before, after = clap.audio(wav).hidden, clap.audio(louder).hidden
    for one, other, grid in zip(before, after, clap.hidden_grids(), strict=True):
        step = (one - other).abs().sum((0, 1, 3)).argmax().item()
        place = grid.steps.first + step * grid.steps.hop
        assert abs(place - (start + 400)) <= grid.steps.hop


def test_a_step_of_cnn14_lies_in_the_middle_of_what_it_hears(microsoft_folder):
    clap = MicrosoftClap(microsoft_folder, microsoft_folder / "tokenizer").eval()
    draw = torch.Generator().manual_seed(0)
    mel = (20 * torch.randn(1, 690, 64, generator=draw) - 30).requires_grad_()
    hidden = clap.embed_mel(mel).hidden
    for maps, grid in zip(hidden, clap.hidden_grids(), strict=True):
        step = maps.shape[2] // 2
        value = maps[0, :, step].sum()
        (gradient,) = torch.autograd.grad(value, mel, retain_graph=True)
        reached = gradient[0].abs().sum(1).nonzero()[:, 0]
        middle = (reached.min() + reached.max()).item() / 2
        place = (grid.steps.first + step * grid.steps.hop) / clap.front_end.hop_length
        assert middle == pytest.approx(place, abs=1)


def test_the_grids_are_those_of_the_maps(clap):
    maps = []
    hook = clap.cam_layer.register_forward_hook(lambda m, i, o: maps.append(o))
    with torch.no_grad():
        hidden = clap.audio(noise(1, 4000)).hidden
    hook.remove()
    grids = clap.hidden_grids()
    assert [each.shape[1] for each in hidden] == clap.hidden_channels
    assert [(each.shape[1], each.shape[3]) for each in hidden] == [
        (grid.channels, grid.n_bands) for grid in grids
    ]
    # What class activation maps look at is the last hidden map.
    assert torch.equal(maps[0], hidden[-1])
    frames, bands = clap.cam_stride
    hop = grids[-1].steps.hop / clap.front_end.hop_length
    assert frames == pytest.approx(hop, rel=2e-3)
    assert maps[0].shape[3] == clap.front_end.n_mels / bands


def test_the_steps_of_the_maps_cover_the_window(clap):
    with torch.no_grad():
        hidden = clap.audio(noise(1, window(clap))).hidden
    for maps, grid in zip(hidden, clap.hidden_grids(), strict=True):
        end = grid.steps.first + (maps.shape[2] - 0.5) * grid.steps.hop
        # CNN14 leaves what is no whole step of it.
        assert window(clap) - grid.steps.hop < end < 1.01 * window(clap)


def test_a_tone_stands_at_its_band_in_the_finest_map(clap):
    # The image of a low and of a high tone: unfolded strips do not mix with bands.
    time = torch.arange(window(clap)) / clap.sample_rate
    wavs = torch.stack(
        [0.1 * torch.sin(2 * torch.pi * hz * time) for hz in (400, 6000)]
    )
    with torch.no_grad():
        silent = clap.audio(torch.zeros_like(wavs)).hidden[0]
        maps = clap.audio(wavs).hidden[0]
        bands = clap.front_end(wavs)[:, 100].argmax(1)
    places = (maps - silent).abs().sum((1, 2)).argmax(1)
    expected = bands * maps.shape[3] / clap.front_end.n_mels
    assert (places + 0.5 - expected).abs().max() <= 1.5


def test_bands_are_read_at_the_frequencies_of_the_bins(clap):
    domain = ClapSTFTDomain(clap)
    time = torch.arange(seconds(clap, 1.0)) / clap.sample_rate
    for hz in (1500, 3000, 9000):  # below, bands are as narrow as bins
        wav = torch.sin(2 * torch.pi * hz * time)[None]
        band = clap.front_end(wav)[0, 40].argmax()
        read = domain.from_bands(torch.nn.functional.one_hot(band, 64).float()[None])
        assert read[0, domain.encode(wav).rep[0, 40].argmax()] > 0.5
    ones = domain.from_bands(torch.ones(2, 5, 64))
    torch.testing.assert_close(ones, torch.ones(2, 5, 513))


# --- Domains ------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0.01, 0.20013, 3.0, 12.0])
@pytest.mark.parametrize("kind", DOMAINS)
def test_there_is_a_frame_at_every_hop_of_the_tower(clap, kind, length):
    domain, n_samples = kind(clap), seconds(clap, length)
    encoded = domain.encode(noise(2, n_samples))
    n_bins = 64 if kind is ClapMelDomain else 513
    n_frames = n_samples // clap.front_end.hop_length + 1
    assert encoded.rep.shape == (2, n_frames, n_bins)
    assert (encoded.rep >= 0).all() and encoded.rep.dtype == torch.float32
    assert domain.hop_length == clap.front_end.hop_length


@pytest.mark.parametrize("kind", DOMAINS)
def test_a_mask_of_ones_changes_nothing(clap, kind):
    domain, wav = kind(clap), noise(2, seconds(clap, 0.7))
    encoded = domain.encode(wav)
    kept = domain.apply_mask(encoded, torch.ones_like(encoded.rep))
    assert torch.equal(domain.features(kept), domain.features(encoded))


@pytest.mark.parametrize("kind", DOMAINS)
def test_a_mask_of_zeros_leaves_silence(clap, kind):
    domain, wav = kind(clap), noise(1, seconds(clap, 0.7))
    encoded = domain.encode(wav)
    left = domain.features(domain.apply_mask(encoded, torch.zeros_like(encoded.rep)))
    silence = clap.front_end(torch.zeros_like(wav))
    features = left if kind is ClapMelDomain else clap.front_end(left)
    assert torch.equal(features, silence)
    assert (silence == -100).all()
    below = domain.features(encoded.with_rep(-encoded.rep - 1))
    assert torch.equal(below, left)


def test_an_all_ones_mask_changes_nothing(clap):
    wav = noise(1, window(clap))
    logits = classifier_of(clap, ClapSTFTDomain)(wav).logits
    for kind in DOMAINS:
        domain = kind(clap)
        masked = classifier_of(clap, kind)(domain.features(domain.encode(wav))).logits
        torch.testing.assert_close(masked, logits, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("hops", [20, 30, 401])
def test_the_mel_spectrogram_is_laid_out_as_the_audio_is(clap, hops):
    wav = noise(1, hops * clap.front_end.hop_length)
    domain = ClapMelDomain(clap)
    ours = domain.features(domain.encode(wav))[0]
    difference = (ours - clap.front_end(wav)[0]).abs().amax(1)
    # Frames reach two hops: those around a seam hear both sides.
    frames = torch.arange(len(difference))
    clear = ((frames + 2) % hops > 4) & (frames < len(frames) - 2)
    assert clear.any() and difference[clear].max() < 1e-3


def test_a_mask_is_repeated_as_the_audio_is(clap):
    hops = 25
    wav = noise(1, hops * clap.front_end.hop_length)
    domain = ClapMelDomain(clap)
    encoded = domain.encode(wav)
    mask = torch.ones_like(encoded.rep)
    mask[:, 7] = 0
    features = domain.features(domain.apply_mask(encoded, mask))[0]
    silent = (features == -100).all(1).nonzero()[:, 0]
    assert torch.equal(silent, torch.arange(7, len(features), hops)[: len(silent)])
    assert len(silent) >= (clap.front_end.n_frames - hops) // hops


@pytest.mark.parametrize("kind", DOMAINS)
def test_the_gradient_reaches_the_mask_and_is_finite_at_silence(clap, kind):
    wav = noise(1, seconds(clap, 0.7))
    wav[:, seconds(clap, 0.3) :] = 0
    domain, classifier = kind(clap), classifier_of(clap, kind)
    encoded = domain.encode(wav)
    mask = torch.full_like(encoded.rep, 0.5).requires_grad_()
    features = domain.features(domain.apply_mask(encoded, mask))
    classifier(features).logits[:, 0].sum().backward()
    assert torch.isfinite(mask.grad).all()
    # Bins below the first band have no influence.
    gradient = mask.grad[0, 2 : seconds(clap, 0.25) // domain.hop_length, 4:200]
    assert (gradient != 0).float().mean() > 0.9


@pytest.mark.parametrize("kind", DOMAINS)
def test_clips_do_not_know_of_each_other(clap, kind):
    domain, classifier = kind(clap), classifier_of(clap, kind)
    wavs = noise(2, seconds(clap, 0.4))
    wavs[0] *= 3
    with torch.no_grad():
        together = classifier(domain.features(domain.encode(wavs))).logits
        alone = classifier(domain.features(domain.encode(wavs[1:]))).logits
    torch.testing.assert_close(alone[0], together[1], rtol=1e-3, atol=1e-4)


def test_only_the_stft_can_be_decoded(clap):
    wav = noise(1, seconds(clap, 0.5))
    stft, mel = ClapSTFTDomain(clap), ClapMelDomain(clap)
    decoded = stft.decode(stft.encode(wav))
    assert (decoded - wav).norm() < 1e-3 * wav.norm()
    assert stft.listenable and not mel.listenable
    with pytest.raises(InputError, match="mel spectrogram.*STFTDomain"):
        mel.decode(mel.encode(wav))


def test_padding_is_known_in_frames(clap):
    wav = noise(2, seconds(clap, 1.0))
    for kind in DOMAINS:
        encoded = kind(clap).encode(wav, torch.tensor([0.5, 1.0]))
        n_recorded, hop = seconds(clap, 0.5), clap.front_end.hop_length
        expected = [-(-(n_recorded + 512) // hop), wav.shape[1] // hop + 1]
        assert encoded.frames.tolist() == expected
        with pytest.raises(ValueError, match="lens.*0 to 1"):
            kind(clap).encode(wav, torch.tensor([0.0, 1.0]))


# --- Explanations -------------------------------------------------------------------


def conditioned(clap, domain):
    """AlignedInterpreter with FiLM, no longer at its beginning."""
    torch.manual_seed(0)
    decoder = AlignedInterpreter(clap, domain, width=8)
    interpreter = FiLMInterpreter(decoder, clap.hidden_channels, clap.embedding_dim)
    for film in interpreter.films:
        torch.nn.init.normal_(film.affine.weight, std=0.5)
    return interpreter.eval()


@pytest.mark.parametrize(
    "kind, length",
    [(ClapSTFTDomain, 0.2), (ClapSTFTDomain, 12.0), (ClapMelDomain, 5.0)],
)
def test_a_decoder_explains_clips_of_any_length(clap, kind, length):
    domain, classifier = kind(clap), classifier_of(clap, kind)
    interpreter = conditioned(clap, domain)

    def by_text(hidden, encoded, target):
        return interpreter(hidden, encoded, classifier.text[target])

    explainer = AmortizedExplainer(domain, classifier, by_text)
    wav = noise(1, seconds(clap, length))
    with torch.no_grad():
        masks = [explainer.explain(wav, torch.tensor([k])).mask for k in (0, 1)]
    for mask in masks:
        assert mask.shape == domain.encode(wav).rep.shape
        assert ((mask >= 0) & (mask <= 1)).all()
    assert not torch.allclose(*masks)  # the prompt has a part in it


@pytest.mark.parametrize("kind", DOMAINS)
def test_the_similarity_trains_the_decoder(clap, kind):
    domain, classifier = kind(clap), classifier_of(clap, kind)
    interpreter = conditioned(clap, domain)
    encoded = domain.encode(noise(1, seconds(clap, 0.3)))
    output = classifier.audio(domain.features(encoded))
    mask = interpreter(output.hidden, encoded, classifier.text[:1])
    part = classifier.audio(domain.features(domain.apply_mask(encoded, mask)))
    (part.embedding * classifier.text[:1]).sum().backward()
    for name, parameter in interpreter.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name
        assert torch.isfinite(parameter.grad).all(), name
    assert not [p for p in classifier.parameters() if p.grad is not None]


@pytest.mark.parametrize("kind, length", [(ClapSTFTDomain, 12.0), (ClapMelDomain, 0.2)])
def test_class_activation_maps_explain_it(clap, kind, length):
    domain, classifier = kind(clap), classifier_of(clap, kind)
    explainer = AttributionExplainer(domain, classifier, GradCAM(torch.abs))
    wav = noise(1, seconds(clap, length))

    def mask_of(target):
        mask = explainer.explain(wav, torch.tensor([target])).mask
        assert mask.shape == domain.encode(wav).rep.shape
        assert torch.isfinite(mask).all()
        return mask

    # The map of one of the classes is positive somewhere.
    assert any(mask_of(target).any() for target in range(3))


@pytest.mark.parametrize("method", [GradCAMPlusPlus, Saliency])
def test_other_baselines_explain_it(clap, method):
    domain, classifier = ClapMelDomain(clap), classifier_of(clap, ClapMelDomain)
    explainer = AttributionExplainer(domain, classifier, method(torch.abs))
    explanation = explainer.explain(noise(1, seconds(clap, 0.2)))
    assert explanation.mask.shape == explanation.encoded.rep.shape
    assert torch.isfinite(explanation.mask).all()


# --- Padding --------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("kind", DOMAINS)
def test_a_padded_clip_has_the_logits_that_it_has_alone(kind, clap):
    domain, classifier = kind(clap), classifier_of(clap, kind)
    recorded = [seconds(clap, 0.25), seconds(clap, 0.6)]
    wav = noise(2, recorded[1])
    lens = torch.tensor(recorded) / recorded[1]
    encoded = domain.encode(wav, lens)
    found = classify(domain, classifier, encoded)
    for item, n in enumerate(recorded):
        alone = domain.encode(wav[item : item + 1, :n])
        own = classify(domain, classifier, alone)
        torch.testing.assert_close(
            found.logits[item], own.logits[0], rtol=1e-3, atol=1e-3
        )
    ones = domain.apply_mask(encoded, torch.ones_like(encoded.rep))
    assert torch.equal(classify(domain, classifier, ones).logits, found.logits)


def test_grad_cam_of_a_padded_clip_is_that_of_the_clip_alone(clap):
    domain = ClapSTFTDomain(clap)
    method = GradCAM(lambda attribution: attribution / attribution.amax())
    explainer = AttributionExplainer(
        domain, classifier_of(clap, ClapSTFTDomain), method
    )
    n_recorded = 30 * domain.hop_length
    wav = noise(2, 2 * n_recorded)
    mask = explainer.explain(wav, torch.tensor([0, 0]), torch.tensor([0.5, 1.0])).mask
    alone = explainer.explain(wav[:1, :n_recorded], torch.tensor([0])).mask
    torch.testing.assert_close(mask[0, :31], alone[0], rtol=1e-2, atol=1e-3)
