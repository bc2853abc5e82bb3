"""Sounds of equal loudness, which none of them leaves full scale for."""

import math

import torch
from pyloudnorm import Meter

TARGET_LUFS = -23.0
HIGHEST_PEAK = 0.99
SHORTEST_S = 0.4  # a gate of ITU-R BS.1770


def loudness(wav: torch.Tensor, sample_rate: int) -> float:
    """The integrated loudness of a sound (ITU-R BS.1770-4, by pyloudnorm).

    Arguments
    ---------
    wav : torch.Tensor
        Shape (N,), mono. Silence is put behind what is shorter than 0.4 s.
    sample_rate : int
        Hz.

    Returns
    -------
    lufs : float
        -inf for silence, and for what lies below the gate of -70 LUFS.
    """
    missing = math.ceil(SHORTEST_S * sample_rate) + 1 - len(wav)
    if missing > 0:
        wav = torch.nn.functional.pad(wav, (0, missing))
    return float(Meter(sample_rate).integrated_loudness(wav.double().numpy()))


def equally_loud(wavs: dict[str, torch.Tensor], sample_rate: int) -> tuple:
    """Sounds at one loudness: -23 LUFS, or as far below as the most peaked one needs.

    Arguments
    ---------
    wavs : dict
        Name to waveform (N,). Silent ones stay silent.
    sample_rate : int

    Returns
    -------
    sounds : dict
        Name to waveform, no sample beyond 0.99.
    gains : dict
        Name to what it was multiplied by, dB.
    lufs : float
        Of all that are not silent.

    Example
    -------
    >>> tone = torch.sin(torch.arange(16000) / 4)
    >>> sounds, gains, lufs = equally_loud({"a": tone, "b": 0.1 * tone}, 16000)
    >>> round(gains["b"] - gains["a"], 1), lufs
    (20.0, -23.0)
    """
    found = {name: loudness(wav, sample_rate) for name, wav in wavs.items()}
    target = TARGET_LUFS
    for name, lufs in found.items():
        if math.isfinite(lufs):
            room = 20 * math.log10(HIGHEST_PEAK / wavs[name].abs().max().item())
            target = min(target, lufs + room)
    gains = {
        name: target - lufs if math.isfinite(lufs) else 0.0
        for name, lufs in found.items()
    }
    sounds = {name: wav * 10 ** (gains[name] / 20) for name, wav in wavs.items()}
    return sounds, gains, target
