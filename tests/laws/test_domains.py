"""Laws of the domains of the STFT and of the mel spectrogram."""

import pytest
import torch

from speechbrain_lmac.domains.stft import MagnitudeSTFTDomain, MelDomain, STFTDomain
from speechbrain_lmac.utils.errors import InputError

DOMAINS = [STFTDomain, MagnitudeSTFTDomain]
RATE = 16000
LENGTHS = [1, 5, 186, 3200, 16001, 79999, 80000]
RECONSTRUCTION_DB = -60
# A clip is the same in any batch, up to the rounding of float32.
BATCH_TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(scope="module", params=DOMAINS, ids=lambda kind: kind.__name__)
def domain(request):
    return request.param(sample_rate=RATE)


def noise(n_clips, n_samples, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return 0.3 * torch.randn(n_clips, n_samples, generator=draw)


def error_db(estimate, reference):
    """Energy of the difference over that of the reference, (B,), dB."""
    error = (estimate - reference).double().square().sum(1)
    return 10 * torch.log10(error / reference.double().square().sum(1))


@pytest.mark.parametrize("n_clips", [1, 3])
@pytest.mark.parametrize("n_samples", LENGTHS)
def test_decode_inverts_encode(domain, n_clips, n_samples):
    wav = noise(n_clips, n_samples)
    decoded = domain.decode(domain.encode(wav))
    assert decoded.shape == wav.shape
    assert (error_db(decoded, wav) < RECONSTRUCTION_DB).all()


@pytest.mark.parametrize("n_samples", LENGTHS)
def test_every_hop_has_a_frame(domain, n_samples):
    encoded = domain.encode(noise(2, n_samples))
    n_frames = n_samples // 186 + 1
    assert encoded.rep.shape == (2, n_frames, 513)
    assert domain.features(encoded).shape == (2, n_frames, 80)


def test_the_published_sizes(domain):
    # docs/methods.md: hop and window in samples, 431 frames of 513 bins and 80 bands.
    assert (domain.hop_length, domain.win_length, domain.n_fft) == (186, 372, 1024)
    encoded = domain.encode(noise(1, 80000))
    assert encoded.rep.shape == (1, 431, 513)
    assert domain.features(encoded).shape == (1, 431, 80)


def test_a_mask_of_ones_changes_nothing(domain):
    encoded = domain.encode(noise(2, 16000))
    masked = domain.apply_mask(encoded, torch.ones_like(encoded.rep))
    assert torch.equal(domain.features(masked), domain.features(encoded))
    assert torch.equal(domain.decode(masked), domain.decode(encoded))


def test_a_mask_of_zeros_leaves_silence(domain):
    encoded = domain.encode(noise(2, 16000))
    masked = domain.apply_mask(encoded, torch.zeros_like(encoded.rep))
    assert not domain.features(masked).any()
    assert not domain.decode(masked).any()


@pytest.mark.parametrize("value", [0.0, 0.25, 0.9, 1.0])
def test_the_mask_acts_by_the_formula_of_the_domain(value):
    wav = noise(1, 4000)
    mask = torch.full((1, 22, 513), value)
    spectrum = torch.stft(
        wav,
        1024,
        186,
        372,
        torch.hamming_window(372),
        pad_mode="constant",
        return_complex=True,
    )
    magnitude = spectrum.abs().transpose(1, 2).double()
    expected = {
        STFTDomain: (1 + magnitude) ** value - 1,
        MagnitudeSTFTDomain: value * magnitude,
    }
    for kind, law in expected.items():
        domain = kind(sample_rate=RATE)
        masked = domain.magnitude(domain.apply_mask(domain.encode(wav), mask))
        torch.testing.assert_close(masked.double(), law, rtol=1e-5, atol=2e-7)


def test_a_decoded_mask_keeps_the_phase(domain):
    # A mask of one value in all cells of one frequency band attenuates, without delay.
    time = torch.arange(16000) / RATE
    wav = torch.sin(2 * torch.pi * 1000 * time)[None]
    encoded = domain.encode(wav)
    half = torch.full_like(encoded.rep, 0.5)
    masked = domain.decode(domain.apply_mask(encoded, half))
    cosine = torch.cosine_similarity(masked[:, 2000:-2000], wav[:, 2000:-2000])
    assert cosine.item() > 0.99


@pytest.mark.parametrize("level", [0.0, 1e-30, 1e4])
def test_features_are_finite_at_any_level(domain, level):
    features = domain.features(domain.encode(level * noise(1, 4000)))
    assert torch.isfinite(features).all()
    assert (features >= 0).all()


def test_a_representation_below_zero_is_silence(domain):
    encoded = domain.encode(noise(1, 4000))
    below = encoded.with_rep(-3 * encoded.rep - 2)
    assert not domain.features(below).any()
    assert not domain.decode(below).any()


def test_the_gradient_is_finite_at_digital_silence(domain):
    wav = noise(1, 4000)
    wav[:, 1000:] = 0
    wav.requires_grad_()
    domain.features(domain.encode(wav)).sum().backward()
    assert torch.isfinite(wav.grad).all()
    assert wav.grad.any()


def test_the_gradient_reaches_the_mask(domain):
    encoded = domain.encode(noise(1, 4000))
    mask = torch.full_like(encoded.rep, 0.5).requires_grad_()
    domain.features(domain.apply_mask(encoded, mask)).sum().backward()
    # Bin 0 lies at the edge of the first triangle, where the filterbank is 0.
    assert (mask.grad[..., 1:-1] > 0).all()


def test_clips_do_not_depend_on_each_other(domain):
    wavs = noise(3, 8000)
    wavs[1] *= 100
    together = domain.encode(wavs)
    for item in range(3):
        alone = domain.encode(wavs[item : item + 1])
        torch.testing.assert_close(
            domain.features(together)[item],
            domain.features(alone)[0],
            **BATCH_TOLERANCE,
        )
        torch.testing.assert_close(
            domain.decode(together)[item], domain.decode(alone)[0], **BATCH_TOLERANCE
        )


def test_an_event_lies_in_the_frame_of_its_time(domain):
    wav = torch.zeros(1, 80000)
    wav[0, 300 * 186] = 1.0
    encoded = domain.encode(wav)
    for maps in (encoded.rep, domain.features(encoded)):
        assert maps[0].sum(1).argmax().item() == 300


@pytest.mark.parametrize(
    "shape", [(16000,), (1, 1, 16000), (2, 0)], ids=["samples", "channels", "empty"]
)
def test_shapes_other_than_batches_of_samples_raise(domain, shape):
    with pytest.raises(ValueError, match=r"^wav .*\(" + str(shape[0])):
        domain.encode(torch.zeros(shape))


@pytest.mark.parametrize(
    "sizes", [{"hop_length_ms": 30.0}, {"win_length_ms": 70.0}, {"hop_length_ms": 0.0}]
)
def test_sizes_that_cannot_be_decoded_raise(sizes):
    with pytest.raises(ValueError, match="hop <= window <= n_fft"):
        STFTDomain(sample_rate=RATE, **sizes)


def test_autocast_changes_no_number(domain):
    wav = noise(1, 16000)
    encoded = domain.encode(wav)
    features, decoded = domain.features(encoded), domain.decode(encoded)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = domain.encode(wav.bfloat16())
        assert cast.rep.dtype == torch.float32
        again = domain.encode(wav)
        assert domain.features(again).dtype == torch.float32
        assert torch.equal(domain.features(again), features)
        assert torch.equal(domain.decode(again), decoded)


@pytest.mark.parametrize("rate", [8000, 44100])
def test_the_bands_reach_half_the_sample_rate(rate):
    domain = STFTDomain(sample_rate=rate, n_fft=2048)
    reach = domain.mel_matrix.sum(1).nonzero()
    # The outer triangles end at 0 Hz and at half the rate (rounded in float32 by
    # SpeechBrain).
    assert reach.min().item() == 1
    assert reach.max().item() >= domain.n_bins - 3
    assert (domain.mel_matrix.sum(0) > 0).all()


def test_a_domain_has_no_weights(domain):
    assert not list(domain.parameters())
    assert not domain.state_dict()


# --- Mel ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mel():
    return MelDomain(sample_rate=RATE)


def test_the_mel_domain_has_the_features_of_the_stft_domain(mel):
    wav = noise(2, 16000)
    encoded = mel.encode(wav)
    assert encoded.rep.shape == (2, 87, 80)
    stft = STFTDomain(sample_rate=RATE)
    expected = stft.features(stft.encode(wav))
    assert torch.equal(mel.features(encoded), expected)


def test_a_mel_mask_multiplies_the_logarithm(mel):
    encoded = mel.encode(noise(2, 16000))
    mask = torch.rand(encoded.rep.shape, generator=torch.Generator().manual_seed(1))
    features = mel.features(mel.apply_mask(encoded, mask))
    assert torch.equal(features, mask * encoded.rep)
    ones = mel.apply_mask(encoded, torch.ones_like(mask))
    assert torch.equal(mel.features(ones), mel.features(encoded))


def test_a_mel_mask_cannot_be_decoded(mel):
    assert all(kind.listenable for kind in DOMAINS) and not mel.listenable
    with pytest.raises(InputError, match="mel.*STFTDomain"):
        mel.decode(mel.encode(noise(1, 4000)))


def test_a_mel_representation_below_zero_is_silence(mel):
    encoded = mel.encode(noise(1, 4000))
    assert not mel.features(encoded.with_rep(-encoded.rep - 1)).any()


@pytest.mark.parametrize("kind", [*DOMAINS, MelDomain])
def test_bands_are_read_at_the_frequencies_of_the_representation(kind):
    domain = kind(sample_rate=RATE)
    # The tone's band in the features is where the tone is in rep.
    time = torch.arange(16000) / RATE
    encoded = domain.encode(torch.sin(2 * torch.pi * 3000 * time)[None])
    band = domain.features(encoded)[0, 40].argmax()
    maps = torch.nn.functional.one_hot(band, 80).float()
    read = domain.from_bands(maps[None])
    assert read.shape == (1, encoded.rep.shape[2])
    place = encoded.rep[0, 40].argmax()
    assert read[0, place] > 0.5
    ones = domain.from_bands(torch.ones(2, 5, 80))
    torch.testing.assert_close(ones, torch.ones(2, 5, encoded.rep.shape[2]))
