"""Spectrum and rhythm of synthetic noise."""

import numpy as np
import pytest
import scipy.signal
import torch

from speechbrain_lmac.dsp.noise import (
    GENERATORS,
    babble_noise,
    shaped_noise,
    unit_power_noise,
    white_noise,
)

RATE = 16000
ALL = pytest.mark.parametrize("name", GENERATORS)


@ALL
def test_a_key_gives_the_same_samples_with_any_number_of_threads(name):
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(GENERATORS[name]((5, "a"), 80000, RATE))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)
    assert not torch.equal(found[0], GENERATORS[name]((5, "b"), 80000, RATE))
    assert not torch.equal(found[0], GENERATORS[name]((6, "a"), 80000, RATE))


@ALL
@pytest.mark.parametrize("n_samples", [2, 101, 8001])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_any_length_and_rate(name, n_samples, rate):
    wav = GENERATORS[name]((1,), n_samples, rate)
    assert wav.shape == (n_samples,)
    assert wav.dtype == torch.float32
    assert wav.isfinite().all()


def power_slope(wav):
    """Fitted exponent of power against frequency, in 100 Hz to 7 kHz."""
    frequency, power = scipy.signal.welch(wav.numpy(), RATE, nperseg=4096)
    band = (frequency > 100) & (frequency < 7000)
    return np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0]


def test_white_noise_is_white_and_gaussian():
    wav = white_noise((1,), 160000, RATE)
    assert power_slope(wav) == pytest.approx(0, abs=0.05)
    assert wav.std().item() == pytest.approx(1, abs=0.01)
    kurtosis = (wav**4).mean() / (wav**2).mean() ** 2
    assert kurtosis.item() == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_shaped_noise_has_its_slope_also_at_unit_power(slope):
    def draw():
        return torch.Generator().manual_seed(1)

    wav = shaped_noise(160000, slope, draw())
    assert power_slope(wav) == pytest.approx(-slope, abs=0.1)
    unit = unit_power_noise(160000, slope, draw())
    torch.testing.assert_close(unit, wav / wav.square().mean().sqrt())


def test_babble_has_the_band_and_the_rhythm_of_speech():
    wav = babble_noise((2,), 30 * RATE, RATE)
    frequency, power = scipy.signal.welch(wav.numpy(), RATE, nperseg=4096)
    share = power[(frequency > 80) & (frequency < 4100)].sum() / power.sum()
    assert share > 0.98
    envelope = wav.square().reshape(-1, RATE // 100).mean(1).numpy()  # 100 Hz
    rate, modulation = scipy.signal.welch(envelope - envelope.mean(), 100, nperseg=512)
    syllables = modulation[(rate > 1) & (rate < 8)].sum()
    assert syllables > 3 * modulation[(rate > 10) & (rate < 17)].sum()


def test_babble_has_no_clicks():
    # The second difference of a wave below 4 kHz is bounded by its level; a jump of
    # a voice between two vowels would stand out.
    wav = babble_noise((3,), 5 * RATE, RATE)
    assert wav.diff().abs().max() < 2 * wav.abs().max()
    frequency, power = scipy.signal.welch(wav.numpy(), RATE, nperseg=4096)
    assert power[frequency > 6000].sum() < 1e-3 * power.sum()
