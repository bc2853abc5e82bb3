"""Laws of a learned codec and of its mask domain (LMAC-TD)."""

import json

import pytest
import torch

from speechbrain_lmac.classifiers import CompactClassifier
from speechbrain_lmac.domains.codec import (
    Codec,
    frozen_codec,
    inverse_pairs,
    pretrained_codec,
    save_codec,
)
from speechbrain_lmac.domains.learned import LearnedDomain
from speechbrain_lmac.domains.masked_audio import MaskedAudio
from speechbrain_lmac.domains.stft import STFTDomain
from speechbrain_lmac.evidence import gather_evidence, training_evidence
from speechbrain_lmac.explainers import (
    AllOnesExplainer,
    AttributionExplainer,
    GradCAM,
    Saliency,
)
from speechbrain_lmac.explainers.to_mask import absolute
from speechbrain_lmac.metrics.separation import si_sdr, source_scores
from speechbrain_lmac.types import Explanation
from speechbrain_lmac.utils.errors import InputError

RATE = 16000
PUBLISHED, COMPACT = (16, 256), (32, 64)  # kernel, channels
# Samples: fewer than a frame, odd, a multiple of both strides, one more than that.
LENGTHS = [1, 7, 16, 33, 3201, 80000, 80001]


def domain_of(kernel_size=32, n_channels=64):
    codec = Codec(RATE, kernel_size, n_channels)
    return LearnedDomain(STFTDomain(RATE), codec).requires_grad_(False)


@pytest.fixture(scope="module", params=[PUBLISHED, COMPACT], ids=["16x256", "32x64"])
def domain(request):
    return domain_of(*request.param)


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return CompactClassifier(3, channels=(4, 8, 16)).eval().requires_grad_(False)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def masked(domain, wav, seed=3):
    encoded = domain.encode(wav)
    mask = torch.rand(encoded.rep.shape, generator=torch.Generator().manual_seed(seed))
    return encoded, mask


@pytest.mark.parametrize("n_samples", LENGTHS)
def test_the_untrained_codec_is_exact_up_to_rounding(domain, n_samples):
    wav = noise(2, n_samples)
    encoded = domain.encode(wav)
    stride = domain.codec.stride
    assert encoded.rep.shape[1] == -(-n_samples // stride) + 1
    assert (encoded.rep >= 0).all()
    decoded = domain.decode(encoded)
    assert decoded.shape == wav.shape
    assert (decoded - wav).abs().max() < 1e-5  # at both ends of the clip, too


def test_the_sizes_of_the_published_codec():
    codec = Codec(RATE)
    assert (codec.kernel_size, codec.stride, codec.n_channels) == (16, 8, 256)
    assert sum(p.numel() for p in codec.parameters()) == 2 * 256 * 16


def test_few_channels_are_lossy():
    domain = domain_of(32, 16)  # 8 directions of 32
    wav = noise(1, 8000)
    assert si_sdr(domain.decode(domain.encode(wav)), wav).item() < 10


def test_the_filters_are_pairs_and_none_is_zero():
    encoding, decoding = inverse_pairs(16, 256)
    assert torch.equal(encoding[::2], -encoding[1::2])
    assert torch.equal(decoding[::2], -decoding[1::2])
    assert (encoding.norm(dim=1) > 0.1).all()
    assert (decoding.norm(dim=1) > 0.001).all()


def test_an_event_lies_in_the_frame_of_its_time(domain):
    stride = domain.codec.stride
    for frame in (0, 1, 700, 1250):
        wav = torch.zeros(1, 1250 * stride + 1)
        wav[0, frame * stride] = 1.0
        energy = domain.encode(wav).rep[0].square().sum(1)
        assert energy.argmax().item() == frame


def test_features_are_those_of_the_input_itself_and_of_decoded_parts(domain):
    wav = noise(2, 16001)
    encoded, mask = masked(domain, wav)
    stft = domain.stft
    assert torch.equal(domain.features(encoded), stft.features(stft.encode(wav)))
    part = domain.apply_mask(encoded, mask)
    decoded = domain.decode(part)
    assert torch.equal(domain.features(part), stft.features(stft.encode(decoded)))
    assert torch.equal(domain.magnitude(part), stft.magnitude(stft.encode(decoded)))


def test_both_parts_add_up_to_the_decoded_input(domain):
    encoded, mask = masked(domain, noise(2, 5000))
    parts = [domain.decode(domain.apply_mask(encoded, m)) for m in (mask, 1 - mask)]
    torch.testing.assert_close(sum(parts), domain.decode(encoded), rtol=0, atol=1e-5)


def test_a_mask_of_ones_shows_the_loss_of_the_codec(classifier):
    wav = noise(2, 16000)
    lossy = domain_of(32, 16)
    explanation = AllOnesExplainer(lossy, classifier).explain(wav)
    evidence = gather_evidence(lossy, classifier, explanation)
    stft = lossy.stft
    itself = classifier(stft.features(stft.encode(wav))).logits
    coded = classifier(
        stft.features(stft.encode(lossy.decode(lossy.encode(wav))))
    ).logits
    torch.testing.assert_close(evidence.logits, itself)
    torch.testing.assert_close(explanation.logits, itself)
    torch.testing.assert_close(evidence.logits_in, coded)
    assert (itself - coded).abs().max() > 1e-3


def test_an_exact_codec_changes_no_logit(domain, classifier):
    explanation = AllOnesExplainer(domain, classifier).explain(noise(2, 16000))
    evidence = gather_evidence(domain, classifier, explanation)
    torch.testing.assert_close(
        evidence.logits_in, evidence.logits, rtol=1e-4, atol=1e-4
    )


def test_clips_do_not_depend_on_each_other(domain):
    wavs = noise(3, 8001)
    wavs[1] *= 100
    encoded, mask = masked(domain, wavs)
    together = domain.apply_mask(encoded, mask)
    for item in range(3):
        only = slice(item, item + 1)
        alone = domain.apply_mask(domain.encode(wavs[only]), mask[only])
        torch.testing.assert_close(
            domain.decode(together)[only], domain.decode(alone), rtol=1e-4, atol=1e-4
        )
        torch.testing.assert_close(
            domain.features(together)[only],
            domain.features(alone),
            rtol=1e-3,
            atol=1e-3,
        )


@pytest.mark.parametrize("level", [0.0, 1e-30, 1e4])
def test_features_of_a_part_are_finite_at_any_level(domain, level):
    encoded, mask = masked(domain, level * noise(1, 4000))
    mask.requires_grad_()
    features = domain.features(domain.apply_mask(encoded, mask))
    assert torch.isfinite(features).all() and (features >= 0).all()
    features.sum().backward()
    assert torch.isfinite(mask.grad).all()


def test_silence_stays_silence(domain, classifier):
    encoded, mask = masked(domain, torch.zeros(1, 4000))
    assert not domain.decode(encoded).any()
    assert not domain.on_bins(MaskedAudio(domain, encoded, mask)).any()


def test_a_representation_below_zero_is_silence(domain):
    encoded = domain.encode(noise(1, 4000))
    assert not domain.decode(encoded.with_rep(-encoded.rep - 1)).any()


def test_autocast_changes_no_number(domain):
    wav = noise(1, 16000)
    encoded, mask = masked(domain, wav)
    part = domain.apply_mask(encoded, mask)
    features, decoded = domain.features(part), domain.decode(part)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(domain.encode(wav).rep, encoded.rep)
        assert torch.equal(domain.features(part), features)
        assert torch.equal(domain.decode(part), decoded)


@pytest.mark.parametrize("shape", [(16000,), (1, 1, 16000), (2, 0)])
def test_shapes_other_than_batches_of_samples_raise(domain, shape):
    with pytest.raises(ValueError, match=r"^wav .*\(" + str(shape[0])):
        domain.encode(torch.zeros(shape))


@pytest.mark.parametrize("sizes", [(31, 64), (32, 63), (0, 64), (32, 0)])
def test_odd_sizes_raise(sizes):
    with pytest.raises(InputError, match="{} and {}".format(*sizes)):
        Codec(RATE, *sizes)


def test_a_codec_of_another_rate_raises():
    with pytest.raises(InputError, match="8000 Hz.*16000 Hz"):
        LearnedDomain(STFTDomain(RATE), Codec(8000))


# --- The map of the masked audio ------------------------------------------------------


def test_the_map_of_known_masks(domain):
    encoded, _ = masked(domain, noise(1, 16000))
    ones = torch.ones_like(encoded.rep)
    for factor in (1.0, 0.5, 0.0):
        maps = domain.on_bins(MaskedAudio(domain, encoded, factor * ones))
        # In every cell: half the waveform is half the magnitude.
        torch.testing.assert_close(
            maps, torch.full_like(maps, factor), rtol=0, atol=2e-3
        )


def test_the_map_shows_when_the_mask_is_open(domain):
    encoded, _ = masked(domain, noise(1, 16000))
    mask = torch.zeros_like(encoded.rep)
    mask[:, : mask.shape[1] // 2] = 1
    maps = domain.on_bins(MaskedAudio(domain, encoded, mask))
    assert maps.shape == (1, 87, 513) and maps.max() <= 1
    assert maps[:, :40].mean() > 0.99 and maps[:, 47:].max() < 1e-3


def test_in_the_stft_domain_the_map_is_that_of_the_waveform():
    stft = STFTDomain(RATE)
    encoded = stft.encode(noise(1, 16000))
    classifier = CompactClassifier(3, channels=(4, 8)).eval()
    explanation = AllOnesExplainer(stft, classifier).explain(encoded.wav)
    evidence = gather_evidence(stft, classifier, explanation)
    torch.testing.assert_close(
        evidence.masked_audio.map, torch.ones_like(encoded.rep), rtol=0, atol=1e-3
    )


# --- Training -------------------------------------------------------------------------


def test_a_codec_in_training_gets_a_gradient_at_both_ends(classifier):
    domain = domain_of().requires_grad_(True)
    encoded, mask = masked(domain, noise(2, 8000))
    logits = classifier(domain.features(encoded)).logits
    explanation = Explanation(mask, logits.argmax(1), encoded, logits)
    evidence = training_evidence(domain, classifier, explanation)
    evidence.logits_in.sum().backward()
    for weight in domain.codec.parameters():
        assert weight.grad.any() and torch.isfinite(weight.grad).all()


def test_a_trained_codec_is_loaded_into_one_of_its_settings(tmp_path):
    trained = Codec(RATE, 32, 64)
    trained.decoder.weight.data.mul_(0.5)
    save_codec(trained, tmp_path)
    for load, learns in ((pretrained_codec, True), (frozen_codec, False)):
        loaded = load(Codec(RATE, 32, 64), str(tmp_path))
        assert torch.equal(loaded.decoder.weight, trained.decoder.weight)
        assert all(p.requires_grad == learns for p in loaded.parameters())


@pytest.mark.parametrize(
    "other", [(8000, 32, 64), (RATE, 16, 64), (RATE, 32, 128)], ids=str
)
def test_a_codec_of_other_settings_raises(tmp_path, other):
    save_codec(Codec(RATE, 32, 64), tmp_path)
    with pytest.raises(InputError, match="'sample_rate': 16000, 'kernel_size': 32"):
        pretrained_codec(Codec(*other), str(tmp_path))


def test_missing_and_damaged_files_of_a_codec_raise(tmp_path):
    with pytest.raises(InputError, match=r"codec.json(?s:.*)train_codec.py"):
        frozen_codec(Codec(RATE), str(tmp_path))
    (tmp_path / "codec.json").write_text("{")
    with pytest.raises(InputError, match="JSON"):
        frozen_codec(Codec(RATE), str(tmp_path))
    (tmp_path / "codec.json").write_text(json.dumps(Codec(RATE).setting))
    with pytest.raises(InputError, match=r"codec.ckpt"):
        frozen_codec(Codec(RATE), str(tmp_path))


# --- Other explainers, and scores against the true sources ----------------------------


def test_gradients_explain_channels_but_class_maps_raise(classifier):
    domain, wav = domain_of(), noise(2, 8000)
    explanation = AttributionExplainer(domain, classifier, Saliency(absolute)).explain(
        wav
    )
    assert explanation.mask.shape == domain.encode(wav).rep.shape
    assert explanation.mask.amax((1, 2)).tolist() == [1.0, 1.0]
    with pytest.raises(InputError, match="Grad-CAM.*STFTDomain"):
        AttributionExplainer(domain, classifier, GradCAM(absolute)).explain(wav)


def test_source_scores_are_those_of_the_waveform(domain):
    time = torch.arange(16000) / RATE
    low, high = (
        torch.sin(2 * torch.pi * f * time)[None] * (time > s) * (time < s + 0.4)
        for f, s in ((500, 0.0), (3000, 0.5))
    )
    encoded = domain.encode(low + high)
    mask = torch.zeros_like(encoded.rep)
    mask[:, : round(0.45 * RATE / domain.codec.stride)] = 1  # the first tone alone
    explanation = Explanation(mask, torch.tensor([0]), encoded, None)
    scores = source_scores(domain, explanation, low, high)
    assert scores["foreground share"].item() > 99
    assert scores["SI-SDR"].item() > 40
    assert scores["SI-SDRi"].item() > 40
    assert scores["IRM overlap"].item() > 0.5
    swapped = source_scores(domain, explanation, high, low)
    assert swapped["foreground share"].item() < 1
    assert swapped["SI-SDR"].item() < -40
