"""Synthetic noise: white, coloured and babble.

Each of `GENERATORS` maps a key, a length and a sample rate to noise that is the same
in any process and with any number of threads.
"""

import math

import torch

from speechbrain_lmac.utils.seeding import generator, uniform
from speechbrain_lmac.utils.system import one_thread

COLOUR_SLOPE = (0.0, 2.0)  # power falls as 1/f**slope; white 0, pink 1, brown 2
N_VOICES = 6
VOICE_HZ = (90.0, 240.0)  # fundamentals of men and women
INTONATION_OCTAVES = 0.25  # largest deviation of a syllable from the voice's pitch
SYLLABLES_PER_S = (3.0, 6.0)
PAUSE_SHARE = 0.25  # share of silent syllables
HIGHEST_HZ = 4000.0  # of the harmonics, and at most half the sample rate
# First and second formant in Hz of five vowels (i, e, a, o, u), rounded from
# Peterson and Barney 1952.
FORMANTS_HZ = ((270, 2290), (530, 1840), (730, 1090), (570, 840), (300, 870))
FORMANT_WIDTH_HZ = 150.0
PERIOD_POINTS = 2048  # samples of a wavetable, read without interpolation


def white_noise(key: tuple, n_samples: int, sample_rate: int) -> torch.Tensor:
    """Return Gaussian white noise of unit variance.

    Arguments
    ---------
    key : tuple
        Seed: strings and numbers (see `seeding.generator`).
    n_samples : int
        Length N.
    sample_rate : int
        Hz; unused, as white noise is the same at every rate.

    Returns
    -------
    wav : torch.Tensor
        Shape (N,), float32.

    Example
    -------
    >>> bool((white_noise((1,), 4, 16000) == white_noise((1,), 4, 16000)).all())
    True
    """
    return torch.randn(n_samples, generator=generator(*key, "white"))


def coloured_noise(key: tuple, n_samples: int, sample_rate: int) -> torch.Tensor:
    """Return Gaussian noise whose power falls as 1 / f^slope, with a random slope.

    The slope is uniform in `COLOUR_SLOPE`.

    Arguments
    ---------
    key, n_samples, sample_rate
        As `white_noise`.

    Returns
    -------
    wav : torch.Tensor
        Shape (N,), float32, any level.
    """
    draw = generator(*key, "coloured")
    with one_thread():
        return shaped_noise(n_samples, uniform(*COLOUR_SLOPE, draw), draw)


def shaped_noise(
    n_samples: int, slope: float, draw: torch.Generator | None
) -> torch.Tensor:
    """Return Gaussian noise whose power falls as 1 / f^slope.

    Arguments
    ---------
    n_samples : int
        Length N.
    slope : float
        0 is white, 1 pink, 2 brown.
    draw : torch.Generator or None
        None: torch's global generator.

    Returns
    -------
    wav : torch.Tensor
        Shape (N,), float32, any level.
    """
    white = torch.fft.rfft(torch.randn(n_samples, generator=draw))
    frequency = torch.arange(len(white)).clamp(min=1) / len(white)
    return torch.fft.irfft(white * frequency ** (-slope / 2), n_samples)


def unit_power_noise(
    n_samples: int, slope: float, draw: torch.Generator | None = None
) -> torch.Tensor:
    """Return `shaped_noise` scaled to a mean square of 1.

    Arguments
    ---------
    n_samples, slope, draw
        As `shaped_noise`.

    Returns
    -------
    wav : torch.Tensor
        Shape (N,), float32.
    """
    noise = shaped_noise(n_samples, slope, draw)
    return noise / noise.square().mean().sqrt()


def babble_noise(key: tuple, n_samples: int, sample_rate: int) -> torch.Tensor:
    """Return the sum of `N_VOICES` synthetic voices.

    A voice is a sequence of 3 to 6 syllables per second, some of them pauses: harmonics
    of a gliding fundamental with the formants of one vowel per syllable, under a sin^2
    envelope. It has the spectrum, pitch and rhythm of babble, but neither consonants
    nor words: it does not replace recorded speech.

    Arguments
    ---------
    key, n_samples, sample_rate
        As `white_noise`.

    Returns
    -------
    wav : torch.Tensor
        Shape (N,), float32, any level.
    """
    draw = generator(*key, "babble")
    with one_thread():
        murmur = torch.zeros(n_samples)
        for _ in range(N_VOICES):
            murmur += _voice(n_samples, sample_rate, draw)
        return murmur


def _voice(n_samples: int, sample_rate: int, draw: torch.Generator) -> torch.Tensor:
    """Return one voice (N,), of any level."""
    pitch = uniform(*VOICE_HZ, draw)
    rate = uniform(*SYLLABLES_PER_S, draw)
    time = torch.arange(n_samples, dtype=torch.float64) / sample_rate
    position = time * rate + uniform(0, 1, draw)
    syllable = position.long()
    within = position - syllable
    n_syllables = int(n_samples / sample_rate * rate) + 3
    strength = torch.rand(n_syllables, generator=draw)
    strength[torch.rand(n_syllables, generator=draw) < PAUSE_SHARE] = 0
    vowel = torch.randint(len(FORMANTS_HZ), (n_syllables,), generator=draw)
    octaves = torch.rand(n_syllables, generator=draw) * 2 - 1
    octaves = INTONATION_OCTAVES * octaves.double()
    glide = octaves[syllable] * (1 - within) + octaves[syllable + 1] * within
    phase = (pitch * 2**glide / sample_rate).cumsum(0)
    point = ((phase % 1) * PERIOD_POINTS).long().clamp(max=PERIOD_POINTS - 1)
    periods = _periods(pitch, min(HIGHEST_HZ, sample_rate / 2))
    envelope = strength[syllable] * torch.sin(math.pi * within).square().float()
    return envelope * periods[vowel[syllable], point]


def _periods(pitch: float, highest: float) -> torch.Tensor:
    """Return a period of each vowel at a fundamental in Hz, (vowels, samples)."""
    # A syllable may exceed the voice's pitch; its harmonics stay below `highest`.
    n_harmonics = max(1, int(highest / (pitch * 2**INTONATION_OCTAVES)))
    number = torch.arange(1, n_harmonics + 1, dtype=torch.float64)
    distance = number[None, :, None] * pitch - torch.tensor(FORMANTS_HZ)[:, None, :]
    amplitude = (1 / (1 + (distance / FORMANT_WIDTH_HZ).square())).sum(2)
    turn = torch.arange(PERIOD_POINTS, dtype=torch.float64) / PERIOD_POINTS
    waves = torch.sin(2 * math.pi * number[:, None] * turn)
    return (amplitude @ waves).float()


# Generators by their names in manifests.
GENERATORS = {
    "white": white_noise,
    "coloured": coloured_noise,
    "babble": babble_noise,
}
