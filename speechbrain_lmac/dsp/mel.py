"""The two mel scales that classifiers hear on, and power in dB."""

import math

import torch

POWER_FLOOR = 1e-10  # -100 dB: what is quieter is heard as this


def hz_to_mel(hz: float | torch.Tensor) -> torch.Tensor:
    """O'Shaughnessy's mel scale, the one of SpeechBrain's filterbank."""
    return 2595 * torch.log10(1 + torch.as_tensor(hz, dtype=torch.float64) / 700)


def slaney_mel(hz: torch.Tensor) -> torch.Tensor:
    """Slaney's mel scale: linear below 1000 Hz (mel 15), logarithmic above.

    As librosa has it (Slaney, Auditory Toolbox, 1998).

    Example
    -------
    >>> slaney_mel(torch.tensor([200.0, 1000.0, 6400.0]))
    tensor([ 3., 15., 42.], dtype=torch.float64)
    """
    hz = torch.as_tensor(hz, dtype=torch.float64)
    above = 15 + 27 * (hz.clamp(min=1000) / 1000).log() / math.log(6.4)
    return torch.where(hz < 1000, 3 * hz / 200, above)


def slaney_hz(mel: torch.Tensor) -> torch.Tensor:
    """The way back from `slaney_mel`.

    Example
    -------
    >>> slaney_hz(torch.tensor([3.0, 15.0, 42.0]))
    tensor([ 200., 1000., 6400.], dtype=torch.float64)
    """
    mel = torch.as_tensor(mel, dtype=torch.float64)
    above = 1000 * 6.4 ** ((mel.clamp(min=15) - 15) / 27)
    return torch.where(mel < 15, 200 * mel / 3, above)


def decibels(power: torch.Tensor) -> torch.Tensor:
    """10 log10 of power, at least -100 dB.

    Example
    -------
    >>> decibels(torch.tensor([0.0, 1.0, 100.0]))
    tensor([-100.,    0.,   20.])
    """
    return 10 * power.clamp(min=POWER_FLOOR).log10()
