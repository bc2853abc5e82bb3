"""The front end against SpeechBrain's own, which the public checkpoints were made with.

SI-SDR is compared with the formula that Le Roux et al. 2019 give, by least squares.
"""

import numpy as np
import pytest
import torch
from speechbrain.processing.features import (
    ISTFT,
    STFT,
    Filterbank,
    spectral_magnitude,
)

from speechbrain_lmac.domains.stft import MagnitudeSTFTDomain, STFTDomain
from speechbrain_lmac.interpreters import MelToBins
from speechbrain_lmac.metrics.separation import si_sdr

RATE = 16000
SIZES = {
    "sample_rate": RATE,
    "n_fft": 1024,
    "hop_length": 11.6099,
    "win_length": 23.2199,
}


def clip(n_samples=80000):
    draw = torch.Generator().manual_seed(3)
    wav = 0.1 * torch.randn(2, n_samples, generator=draw)
    wav[:, : n_samples // 4] = 0  # digital silence, as in ESC-50
    return wav


@pytest.mark.parametrize("n_samples", [3200, 16001, 80000])
def test_magnitude_is_that_of_speechbrain(n_samples):
    wav = clip(n_samples)
    theirs = spectral_magnitude(STFT(**SIZES)(wav), power=0.5)
    encoded = MagnitudeSTFTDomain(sample_rate=RATE).encode(wav)
    torch.testing.assert_close(encoded.rep, theirs, rtol=1e-6, atol=1e-9)
    encoded = STFTDomain(sample_rate=RATE).encode(wav)
    torch.testing.assert_close(encoded.rep, theirs.log1p(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", [STFTDomain, MagnitudeSTFTDomain])
def test_features_are_those_of_the_public_classifiers(kind):
    wav = clip()
    magnitude = spectral_magnitude(STFT(**SIZES)(wav), power=0.5)
    theirs = Filterbank(n_mels=80, n_fft=1024, log_mel=False)(magnitude).log1p()
    domain = kind(sample_rate=RATE)
    ours = domain.features(domain.encode(wav))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_samples", [3200, 80000])
def test_decoding_is_that_of_speechbrain(n_samples):
    # The public code: expm1 of the masked log magnitude, the phase of the input.
    wav = clip(n_samples)
    spectrum = STFT(**SIZES)(wav)
    phase = torch.atan2(spectrum[..., 1], spectrum[..., 0])
    draw = torch.Generator().manual_seed(4)
    mask = torch.rand(spectrum.shape[:3], generator=draw)
    masked = (mask * spectral_magnitude(spectrum, power=0.5).log1p()).expm1()
    theirs = ISTFT(**SIZES)(
        torch.stack([masked * phase.cos(), masked * phase.sin()], dim=-1), n_samples
    )
    domain = STFTDomain(sample_rate=RATE)
    ours = domain.decode(domain.apply_mask(domain.encode(wav), mask))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_bump_in_a_band_lands_at_the_centre_of_speechbrains_band():
    filterbank = Filterbank(n_mels=80, n_fft=1024, log_mel=False)
    read = MelToBins(RATE, 1024, 80)(torch.eye(80))
    frequency = torch.linspace(0, RATE / 2, 513)
    edges = torch.cat([torch.zeros(1), filterbank.f_central, torch.tensor([8000.0])])
    for band in range(80):
        bins = read[band].nonzero()[:, 0]
        if 0 < band < 79:
            # Each bin between the neighbouring centres hears the band, no other does.
            assert (frequency[bins] > edges[band]).all()
            assert (frequency[bins] < edges[band + 2]).all()
        nearest = (frequency - edges[band + 1]).abs().argmin()
        assert read[:, nearest].argmax().item() == band


def test_a_constant_over_bands_is_a_constant_over_bins():
    read = MelToBins(RATE, 1024, 80)(torch.ones(80))
    torch.testing.assert_close(read, torch.ones(513))


def test_a_line_over_mel_stays_a_line():
    # Interpolation is linear on SpeechBrain's mel scale between the outer centres.
    filterbank = Filterbank(n_mels=80, n_fft=1024, log_mel=False)
    centres = torch.tensor([filterbank._to_mel(f) for f in filterbank.f_central])
    frequency = torch.linspace(0, RATE / 2, 513)
    mel = torch.tensor([filterbank._to_mel(f) for f in frequency])
    wanted = mel.clamp(centres[0], centres[-1])
    read = MelToBins(RATE, 1024, 80)(centres)
    torch.testing.assert_close(read, wanted, rtol=1e-4, atol=0.05)


def least_squares_si_sdr(estimate, reference):
    """SI-SDR of two waveforms (N,) in dB: project by least squares, then compare."""
    gain = np.linalg.lstsq(reference[:, None], estimate, rcond=None)[0][0]
    target = gain * reference
    noise = estimate - target
    return 20 * np.log10(np.linalg.norm(target) / np.linalg.norm(noise))


@pytest.mark.parametrize("snr_db", [-20, 0, 35])
def test_si_sdr_is_the_projection_of_le_roux(snr_db):
    draw = np.random.default_rng(5)
    reference = draw.standard_normal((3, 4000)) + 0.3  # a mean, which is not removed
    noise = draw.standard_normal((3, 4000))
    estimate = -2.5 * reference + noise * 10 ** (-snr_db / 20)
    ours = si_sdr(torch.from_numpy(estimate), torch.from_numpy(reference))
    wanted = [
        least_squares_si_sdr(*pair) for pair in zip(estimate, reference, strict=True)
    ]
    np.testing.assert_allclose(ours.numpy(), wanted, rtol=1e-9)
