"""Synthetic clips of the toy dataset: six classes, over background noise.

A clip depends only on a seed and an index; `toy_prepare.py` writes the dataset.
"""

from typing import Any

import numpy as np

SNR_DB = (-3.0, 6.0)  # foreground over background, energies of the whole clip
BACKGROUND_DBFS = (-44.0, -32.0)  # leaves headroom for the peaks of clicks at 6 dB SNR
BACKGROUND_SLOPE = (0.0, 1.0)  # power falls as 1/f**slope: white to pink
BACKGROUND_FROM_HZ = 50.0  # lowest frequency
ACTIVE_SHARE = (0.35, 0.7)  # of the clip, from the first event to the last
SLOT_S = 0.06  # minimum time for an event and its pause: a click must fit
EVENT_GAIN_DB = (-4.0, 4.0)
PEAK = 0.95  # of full scale, never exceeded
FADE_S = 0.01
INT16_SCALE = 32768


def render_clip(
    seed: int, index: int, sample_rate: int = 16000, seconds: float = 5.0
) -> dict[str, Any]:
    """Render one clip and its two stems.

    Arguments
    ---------
    seed, index : int
        The clip depends only on these, the sample rate and the length.
    sample_rate : int
        Hz.
    seconds : float
        Length of the clip.

    Returns
    -------
    sound : dict
        "clip", "foreground", "background": int16 of shape (N,), the clip being the sum
        of the stems; "snr_db": 10 log10 of the ratio of their energies, uniform in
        `SNR_DB`; "pitch_hz": `median_frequency` of the foreground; "n_events": the
        number of its events, between "start_s" and "end_s" (s).

    Example
    -------
    >>> sound = render_clip(seed=1234, index=0, seconds=1.0)
    >>> bool((sound["clip"] == sound["foreground"] + sound["background"]).all())
    True
    """
    rng = np.random.default_rng([seed, index])
    n_samples = round(sample_rate * seconds)
    # The background is drawn first, so it does not depend on the class.
    snr_db = round(rng.uniform(*SNR_DB), 2)
    level = 10 ** (rng.uniform(*BACKGROUND_DBFS) / 20)
    background = background_noise(rng, n_samples, sample_rate)
    background *= level / _rms(background)
    target = index % len(TOY_CLASSES)
    foreground, placed = _place_events(rng, target, n_samples, sample_rate)
    foreground *= level * 10 ** (snr_db / 20) / _rms(foreground)
    # Both stems are scaled, which keeps the SNR; rarely needed, see BACKGROUND_DBFS.
    both = min(1.0, PEAK / np.abs([foreground, foreground + background]).max())
    stems = {
        "foreground": np.rint(both * foreground * INT16_SCALE).astype(np.int16),
        "background": np.rint(both * background * INT16_SCALE).astype(np.int16),
    }
    clip = stems["foreground"] + stems["background"]
    pitch_hz = round(median_frequency(foreground, sample_rate), 1)
    return {"clip": clip, **stems, "snr_db": snr_db, "pitch_hz": pitch_hz, **placed}


def median_frequency(sound: np.ndarray, sample_rate: int) -> float:
    """Return the frequency in Hz below which half of the energy lies.

    Arguments
    ---------
    sound : numpy.ndarray
        Shape (N,), not silent.
    sample_rate : int
        Hz.

    Example
    -------
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    >>> median_frequency(tone, 16000)
    440.0
    """
    energy = np.cumsum(np.abs(np.fft.rfft(sound)) ** 2)
    index = np.searchsorted(energy, energy[-1] / 2)
    return float(index * sample_rate / len(sound))


def background_noise(
    rng: np.random.Generator, n_samples: int, sample_rate: int
) -> np.ndarray:
    """Return Gaussian noise whose power falls as 1/f**slope, with a random slope.

    Arguments
    ---------
    rng : numpy.random.Generator
        Generator of the slope and the samples.
    n_samples : int
        N.
    sample_rate : int
        Hz.

    Returns
    -------
    noise : numpy.ndarray
        Shape (N,), any level, without frequencies below `BACKGROUND_FROM_HZ`.
    """
    slope = rng.uniform(*BACKGROUND_SLOPE)
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequency = np.fft.rfftfreq(n_samples, 1 / sample_rate)
    gain = np.maximum(frequency, BACKGROUND_FROM_HZ) ** (-slope / 2)
    return np.fft.irfft(spectrum * gain * (frequency >= BACKGROUND_FROM_HZ), n_samples)


def _place_events(
    rng: np.random.Generator, target: int, n_samples: int, sample_rate: int
) -> tuple[np.ndarray, dict[str, float]]:
    """Return events of a class in a part of the clip, silent elsewhere.

    Returns
    -------
    foreground : numpy.ndarray
        Shape (n_samples,).
    placed : dict
        "n_events", "start_s" and "end_s".
    """
    render, (fewest, most) = EVENTS[target]
    n_active = int(n_samples * rng.uniform(*ACTIVE_SHARE))
    n_fit = int(n_active / (SLOT_S * sample_rate))  # a limit only in clips below 4 s
    n_events = min(int(rng.integers(fewest, most + 1)), n_fit)
    first = rng.integers(0, n_samples - n_active + 1)
    n_slot = n_active // n_events
    foreground = np.zeros(n_samples)
    for event in range(n_events):
        # Several events have pauses between them; a single one fills its slot.
        n_event = n_slot if n_events == 1 else int(n_slot * rng.uniform(0.4, 0.8))
        gain = 10 ** (rng.uniform(*EVENT_GAIN_DB) / 20)
        start = first + event * n_slot
        sound = render(rng, n_event, sample_rate)
        foreground[start : start + n_event] = gain * _faded(sound, sample_rate)
    times = {"start_s": first, "end_s": start + n_event}
    placed = {name: round(float(n / sample_rate), 3) for name, n in times.items()}
    return foreground, {"n_events": int(n_events), **placed}


def _rms(sound: np.ndarray) -> np.floating:
    return np.sqrt(np.mean(sound**2))


def _faded(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """Fade in and out: a step at an end would be a click at all frequencies."""
    n_fade = min(int(FADE_S * sample_rate), len(sound) // 2)
    fade = np.sin(np.linspace(0, np.pi / 2, n_fade)) ** 2
    envelope = np.ones(len(sound))
    envelope[:n_fade] = fade
    envelope[len(sound) - n_fade :] = fade[::-1]
    return sound * envelope


def _partials(
    frequency: np.ndarray, sample_rate: int, amplitudes: list[float]
) -> np.ndarray:
    """Return harmonics of a fundamental in Hz, (N,) like `frequency`."""
    phase = 2 * np.pi * np.cumsum(frequency) / sample_rate
    wave = np.zeros_like(phase)
    for k, amplitude in enumerate(amplitudes):
        wave += amplitude * np.sin((k + 1) * phase)
    return wave


# One event of each class: functions of a generator, the number of samples N and the
# sample rate (Hz) that return an array (N,).


def chirp(rng: np.random.Generator, n_samples: int, sample_rate: int) -> np.ndarray:
    """Return a tone (N,) that rises by about an octave and a half.

    Arguments
    ---------
    rng, n_samples, sample_rate
        As `background_noise`.

    Returns
    -------
    wav : numpy.ndarray
        Shape (N,), any level.
    """
    octaves = rng.uniform(1.0, 2.0) * np.linspace(0, 1, n_samples)
    return _partials(rng.uniform(500, 1400) * 2**octaves, sample_rate, [1.0])


def click(rng: np.random.Generator, n_samples: int, sample_rate: int) -> np.ndarray:
    """Return a resonance (N,) of 2 to 5 kHz that decays within some milliseconds.

    Arguments
    ---------
    rng, n_samples, sample_rate
        As `background_noise`.

    Returns
    -------
    wav : numpy.ndarray
        Shape (N,), any level.
    """
    time = np.arange(n_samples) / sample_rate
    # The delay keeps the attack out of the fade-in.
    time = np.maximum(time - FADE_S, 0)
    decay = np.exp(-time / rng.uniform(0.006, 0.015))
    return decay * np.sin(2 * np.pi * rng.uniform(2000, 5000) * time)


def tone(rng: np.random.Generator, n_samples: int, sample_rate: int) -> np.ndarray:
    """Return a steady note (N,) of four partials.

    Arguments
    ---------
    rng, n_samples, sample_rate
        As `background_noise`.

    Returns
    -------
    wav : numpy.ndarray
        Shape (N,), any level.
    """
    frequency = np.full(n_samples, rng.uniform(250, 700))
    return _partials(frequency, sample_rate, [1.0, 0.7, 0.5, 0.35])


def burst(rng: np.random.Generator, n_samples: int, sample_rate: int) -> np.ndarray:
    """Return noise (N,) of a third of an octave, as from a band-pass filter.

    Arguments
    ---------
    rng, n_samples, sample_rate
        As `background_noise`.

    Returns
    -------
    wav : numpy.ndarray
        Shape (N,), any level.
    """
    centre = rng.uniform(1000, 5000)
    spectrum = np.fft.rfft(rng.standard_normal(n_samples))
    frequency = np.fft.rfftfreq(n_samples, 1 / sample_rate)
    # A Gaussian over octaves: smooth skirts that do not ring in time.
    octaves = np.log2(np.maximum(frequency, 1.0) / centre)
    return np.fft.irfft(spectrum * np.exp(-0.5 * (octaves / (1 / 6)) ** 2), n_samples)


def siren(rng: np.random.Generator, n_samples: int, sample_rate: int) -> np.ndarray:
    """Return two partials (N,) that swing up and down.

    Arguments
    ---------
    rng, n_samples, sample_rate
        As `background_noise`.

    Returns
    -------
    wav : numpy.ndarray
        Shape (N,), any level.
    """
    time = np.arange(n_samples) / sample_rate
    swing = np.sin(2 * np.pi * (rng.uniform(0.5, 2.0) * time + rng.uniform()))
    frequency = rng.uniform(700, 1100) + rng.uniform(200, 350) * swing
    return _partials(frequency, sample_rate, [1.0, 0.4])


def hum(rng: np.random.Generator, n_samples: int, sample_rate: int) -> np.ndarray:
    """Return low partials (N,) with amplitude modulation.

    Arguments
    ---------
    rng, n_samples, sample_rate
        As `background_noise`.

    Returns
    -------
    wav : numpy.ndarray
        Shape (N,), any level.
    """
    time = np.arange(n_samples) / sample_rate
    throb = 1 + 0.5 * np.sin(2 * np.pi * (rng.uniform(5, 10) * time + rng.uniform()))
    frequency = np.full(n_samples, rng.uniform(90, 180))
    return throb * _partials(frequency, sample_rate, [1.0, 0.8, 0.6, 0.4])


# The event of each class, and its minimum and maximum number in a clip.
EVENTS = (
    (chirp, (3, 7)),
    (click, (10, 20)),
    (tone, (2, 5)),
    (burst, (3, 6)),
    (siren, (1, 1)),
    (hum, (1, 1)),
)
TOY_CLASSES = tuple(render.__name__ for render, _ in EVENTS)
