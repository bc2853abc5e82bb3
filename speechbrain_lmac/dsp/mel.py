"""Mel scales, mel filters, and power in dB."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torchaudio.functional import melscale_fbanks

POWER_FLOOR = 1e-10  # -100 dB, the lowest level


def hz_to_mel(hz: float | torch.Tensor) -> torch.Tensor:
    """Return O'Shaughnessy's mel scale (SpeechBrain's), float64, in the shape of `hz`.

    Example
    -------
    >>> hz_to_mel(700.0).round(decimals=2)  # 2595 log10(2)
    tensor(781.1700, dtype=torch.float64)
    """
    return 2595 * torch.log10(1 + torch.as_tensor(hz, dtype=torch.float64) / 700)


def slaney_mel(hz: torch.Tensor) -> torch.Tensor:
    """Return Slaney's mel scale: linear below 1000 Hz (mel 15), logarithmic above.

    Float64, in the shape of `hz`; as in librosa (Slaney, Auditory Toolbox, 1998).

    Example
    -------
    >>> slaney_mel(torch.tensor([200.0, 1000.0, 6400.0]))
    tensor([ 3., 15., 42.], dtype=torch.float64)
    """
    hz = torch.as_tensor(hz, dtype=torch.float64)
    above = 15 + 27 * (hz.clamp(min=1000) / 1000).log() / math.log(6.4)
    return torch.where(hz < 1000, 3 * hz / 200, above)


def slaney_mel_matrix(
    sample_rate: int, n_fft: int, n_mels: int, low_hz: float, high_hz: float
) -> torch.Tensor:
    """Return Slaney's triangular filters of equal area, as torchaudio and librosa do.

    Evenly spaced on Slaney's mel scale, triangular in Hz, each of height 2 / (width in
    Hz).

    Arguments
    ---------
    sample_rate : int
        Hz.
    n_fft : int
        FFT size; n_fft // 2 + 1 bins.
    n_mels : int
        Number of filters.
    low_hz, high_hz : float
        Lower edge of the first filter and upper edge of the last, Hz.

    Returns
    -------
    matrix : torch.Tensor
        Shape (F, n_mels), F = n_fft // 2 + 1, float64.

    Example
    -------
    Filters from 0 to 600 and from 300 to 900 Hz at bins of 150 Hz:

    >>> (600 * slaney_mel_matrix(1200, 8, 2, 0, 900).T).abs().round(decimals=3)
    tensor([[0., 1., 2., 1., 0.],
            [0., 0., 0., 1., 2.]], dtype=torch.float64)
    """
    with default_dtype(torch.float64):  # in float32, narrow filters are off by 1e-5
        return melscale_fbanks(
            n_freqs=n_fft // 2 + 1,
            f_min=float(low_hz),
            f_max=float(high_hz),
            n_mels=n_mels,
            sample_rate=sample_rate,
            norm="slaney",
            mel_scale="slaney",
        )


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Set torch's default dtype, for the whole process, within the context."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def decibels(power: torch.Tensor) -> torch.Tensor:
    """Return 10 log10 of power of any shape, at least -100 dB.

    Example
    -------
    >>> decibels(torch.tensor([0.0, 1.0, 100.0]))
    tensor([-100.,    0.,   20.])
    """
    return 10 * power.clamp(min=POWER_FLOOR).log10()
