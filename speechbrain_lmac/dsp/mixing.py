"""Mixing of two waveforms at given levels.

A mixture is g_1 s_1 / |s_1| + g_2 s_2 / |s_2|, with the energy |s|^2 over the whole
clip, divided by its largest absolute sample. Energies are summed by numpy in float64,
in one thread: torch's sums depend on the number of threads in their last bit.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch


def norm(wav: torch.Tensor) -> float:
    """Return the square root of a waveform's energy over the whole clip.

    Arguments
    ---------
    wav : torch.Tensor
        Shape (N,).

    Returns
    -------
    norm : float
        At least 0.

    Example
    -------
    >>> norm(torch.tensor([3.0, 0.0, -4.0]))
    5.0
    """
    return math.sqrt(np.square(wav.double().numpy()).sum())


def unit_energy(wav: torch.Tensor) -> torch.Tensor:
    """Divide a waveform by its norm; silence stays silence.

    Arguments
    ---------
    wav : torch.Tensor
        Shape (N,).

    Returns
    -------
    wav : torch.Tensor
        Shape (N,), float64, of energy 1 or 0.

    Example
    -------
    >>> unit_energy(torch.tensor([3.0, -4.0]))
    tensor([ 0.6000, -0.8000], dtype=torch.float64)
    """
    size = norm(wav)
    return wav.double() / size if size > 0 else torch.zeros_like(wav).double()


def gains_of_snr(snr_db: float) -> tuple[float, float]:
    """Return the gains for a signal-to-noise ratio; the foreground's is 1.

    Arguments
    ---------
    snr_db : float
        10 log10 of the foreground's energy over the background's, in the whole clip.

    Returns
    -------
    gains : tuple
        Gains of foreground and background, linear.

    Example
    -------
    >>> gains_of_snr(20.0)
    (1.0, 0.1)
    """
    return 1.0, 10 ** (-snr_db / 20)


def snr_of_gains(gains: Sequence[float]) -> float:
    """Return the signal-to-noise ratio of two gains, dB.

    Example
    -------
    >>> round(snr_of_gains((0.8, 0.2)), 2)
    12.04
    """
    return 20 * math.log10(gains[0] / gains[1])


def measured_snr(foreground: torch.Tensor, background: torch.Tensor) -> float:
    """Return the energy of the foreground over that of the background, dB.

    Arguments
    ---------
    foreground, background : torch.Tensor
        Shape (N,).

    Returns
    -------
    snr_db : float
        inf for a silent background, -inf for a silent foreground, NaN for both.

    Example
    -------
    >>> measured_snr(torch.tensor([10.0, 0.0]), torch.tensor([0.0, 1.0]))
    20.0
    """
    signal, noise = norm(foreground), norm(background)
    if signal == 0 and noise == 0:
        return math.nan
    if signal == 0 or noise == 0:
        return math.inf if noise == 0 else -math.inf
    return 20 * math.log10(signal / noise)


def mix(
    foreground: torch.Tensor,
    background: torch.Tensor,
    gains: Sequence[float],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mix two waveforms, each at unit energy, and scale the sum to a peak of 1.

    m = g_1 s_1 / |s_1| + g_2 s_2 / |s_2|; mixture and stems are divided by max |m|. The
    public code divides by the signed maximum (docs/methods.md, signed maximum).

    Arguments
    ---------
    foreground, background : torch.Tensor
        Shape (N,). A silent one adds nothing.
    gains : sequence of float
        Gains of foreground and background, linear.

    Returns
    -------
    mixture, foreground, background : torch.Tensor
        Shape (N,), float32. The stems sum to the mixture exactly; its largest absolute
        sample is 1 up to rounding, or 0 if both are silent.

    Example
    -------
    >>> mixture, _, noise = mix(
    ...     torch.tensor([2.0, 0]), torch.tensor([0, 3.0]), (1, 0.5)
    ... )
    >>> mixture, noise
    (tensor([1.0000, 0.5000]), tensor([0.0000, 0.5000]))
    """
    stems = [
        gain * unit_energy(wav)
        for gain, wav in zip(gains, (foreground, background), strict=True)
    ]
    peak = (stems[0] + stems[1]).abs().max()
    if peak > 0:
        stems = [stem / peak for stem in stems]
    foreground, background = (stem.float() for stem in stems)
    return foreground + background, foreground, background
