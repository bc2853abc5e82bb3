"""Loudness measurement and loudness matching."""

import math
from collections.abc import Mapping

import torch
from pyloudnorm import Meter

TARGET_LUFS = -23.0
HIGHEST_PEAK = 0.99
SHORTEST_S = 0.4  # a gating block of ITU-R BS.1770


def loudness(wav: torch.Tensor, sample_rate: int) -> float:
    """Return the integrated loudness of a waveform (ITU-R BS.1770-4, by pyloudnorm).

    Arguments
    ---------
    wav : torch.Tensor
        Shape (N,), mono; padded with zeros to at least 0.4 s.
    sample_rate : int
        Hz.

    Returns
    -------
    lufs : float
        In LUFS; -inf for silence and below the gate of -70 LUFS.
    """
    missing = math.ceil(SHORTEST_S * sample_rate) + 1 - len(wav)
    if missing > 0:
        wav = torch.nn.functional.pad(wav, (0, missing))
    return float(Meter(sample_rate).integrated_loudness(wav.double().numpy()))


def equally_loud(
    wavs: Mapping[str, torch.Tensor], sample_rate: int
) -> tuple[dict[str, torch.Tensor], dict[str, float], float]:
    """Scale waveforms to one loudness: -23 LUFS, or less to keep peaks within 0.99.

    Arguments
    ---------
    wavs : dict
        Name to waveform (N,). Silent ones stay silent.
    sample_rate : int
        Hz.

    Returns
    -------
    scaled : dict
        Name to waveform (N,), no sample beyond 0.99.
    gains : dict
        Name to gain, dB.
    lufs : float
        Common loudness of the waveforms that are not silent.

    Example
    -------
    >>> tone = torch.sin(torch.arange(16000) / 4)
    >>> scaled, gains, lufs = equally_loud({"a": tone, "b": 0.1 * tone}, 16000)
    >>> round(gains["b"] - gains["a"], 1), lufs
    (20.0, -23.0)
    """
    measured = {name: loudness(wav, sample_rate) for name, wav in wavs.items()}
    target = TARGET_LUFS
    for name, lufs in measured.items():
        if math.isfinite(lufs):
            headroom_db = 20 * math.log10(HIGHEST_PEAK / wavs[name].abs().max().item())
            target = min(target, lufs + headroom_db)
    gains = {
        name: target - lufs if math.isfinite(lufs) else 0.0
        for name, lufs in measured.items()
    }
    scaled = {name: wav * 10 ** (gains[name] / 20) for name, wav in wavs.items()}
    return scaled, gains, target
