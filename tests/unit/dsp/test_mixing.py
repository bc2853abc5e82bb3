"""Mixing: levels, silence, the sum of the stems."""

import math

import pytest
import torch
from torchaudio.functional import add_noise

from speechbrain_lmac.dsp.mixing import (
    gains_of_snr,
    measured_snr,
    mix,
    norm,
    snr_of_gains,
    unit_energy,
)


def noise(seed, n_samples=1000):
    return torch.randn(n_samples, generator=torch.Generator().manual_seed(seed))


def test_gains_are_those_of_the_paper():
    assert snr_of_gains((0.8, 0.2)) == pytest.approx(12.0412, abs=1e-4)
    assert snr_of_gains((1.0, 0.5)) == pytest.approx(6.0206, abs=1e-4)
    assert snr_of_gains((1, 1)) == 0
    assert snr_of_gains(gains_of_snr(-7.5)) == pytest.approx(-7.5)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_levels_of_the_files_do_not_matter(scale):
    mixture, foreground, background = mix(noise(1), scale * noise(2), (0.8, 0.2))
    assert torch.equal(foreground + background, mixture)
    assert mixture.dtype == torch.float32
    assert mixture.abs().max().item() == pytest.approx(1, abs=1e-6)
    assert measured_snr(foreground, background) == pytest.approx(12.0412, abs=1e-4)


def test_it_is_torchaudio_s_mixture_at_another_level():
    clip, other = noise(1), noise(2)
    mixture, _, _ = mix(clip, other, gains_of_snr(3.0))
    theirs = add_noise(clip[None], other[None], torch.tensor([3.0]))[0]
    torch.testing.assert_close(mixture, theirs / theirs.abs().max())


def test_a_large_negative_peak_is_not_inverted():
    # The signed maximum is 0.1: the public code would give -10 at the peak.
    mixture, _, _ = mix(torch.tensor([0.1, -1.0]), torch.zeros(2), (1, 1))
    torch.testing.assert_close(mixture, torch.tensor([0.1, -1.0]))


def test_silence_adds_nothing_and_makes_no_nan():
    silence, sound = torch.zeros(1000), noise(1)
    for pair, sounding in [((silence, sound), 2), ((sound, silence), 1)]:
        stems = mix(*pair, (0.8, 0.2))
        assert torch.equal(stems[0], stems[sounding])
        torch.testing.assert_close(stems[0], sound / sound.abs().max())
        assert not stems[3 - sounding].any()
    assert not torch.cat(mix(silence, silence, (1, 1))).any()
    assert not unit_energy(silence).any()


def test_measured_snr_of_silence():
    silence, sound = torch.zeros(4), torch.ones(4)
    assert measured_snr(sound, silence) == math.inf
    assert measured_snr(silence, sound) == -math.inf
    assert math.isnan(measured_snr(silence, silence))


def test_the_norm_does_not_overflow_or_depend_on_threads():
    assert norm(torch.full((4,), 1e30)) == pytest.approx(2e30)
    before = torch.get_num_threads()
    try:
        found = set()
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.add(norm(noise(3, 300_000)))
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1
